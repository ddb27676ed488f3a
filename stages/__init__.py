"""The pipeline: each module here is a verb, each package a subject (a noun).

A verb is a DVC stage, named in dvc.yaml, or a command for people; `python -m stages` lists both.
Packages never import verbs, and import each other in one direction only:
config -> dataset -> phantoms -> sources -> downloads, imaging -> modeling -> evaluation, explain
-> reporting; what serves commands alone comes behind: adoption, deployment.
"""

import os

# Threads that wait for each other sleep instead of spinning. Measured with two threads on two
# cores: no slower alone, 2 to 3 times faster when another process takes one of the cores.
# OpenMP reads this when torch is first imported, so it stands here, before any of that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
