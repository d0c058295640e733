__version__ = "0.1.0"

from .api import audit, evaluate, features, plan, predict, run

__all__ = ["audit", "evaluate", "features", "plan", "predict", "run"]
