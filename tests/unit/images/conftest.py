"""`images/` is no package (it holds scripts): its modules are imported as its scripts import them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images"))
