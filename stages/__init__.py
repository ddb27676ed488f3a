"""The pipeline: each module here is a DVC stage (a verb), each package a subject (a noun).

Packages never import stages, and import each other in one direction only:
config -> dataset -> phantoms -> sources -> imaging -> modeling -> evaluation, explain -> reporting.
"""

import os

# Threads that wait for each other sleep instead of spinning. Measured with two threads on two
# cores: no slower alone, 2 to 3 times faster when another process takes one of the cores.
# OpenMP reads this when torch is first imported, so it stands here, before any of that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
