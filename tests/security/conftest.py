"""The fuzz targets lie beside `src`, in `fuzz`: the same ones run here for seconds and by hand for hours."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
