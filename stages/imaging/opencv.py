"""OpenCV, set up once: on one thread, and with the same arithmetic on every processor."""

import cv2

__all__ = ["cv2"]

cv2.setNumThreads(1)  # on pictures this small, threads wait for each other
# Its variants for some processors, Intel's IPP among them, round differently: keypoints, and with
# them fingerprints.bin, were not the same files on AMD and on Intel.
cv2.setUseOptimized(False)
