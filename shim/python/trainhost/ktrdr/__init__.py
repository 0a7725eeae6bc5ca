"""
The training adapter of ktrdr's backend, over trainhost instead of HTTP.

    from trainhost.ktrdr import TrainingManager

The calls, their arguments and what they return are those of the adapter that it replaces; errors
have its names. Besides, a training's model comes back (get_training_result).
"""

from trainhost.ktrdr.adapter import TrainingAdapter
from trainhost.ktrdr.csv_features import CsvFeatureProvider
from trainhost.ktrdr.errors import (
    TrainingHostBusyError,
    TrainingProviderConnectionError,
    TrainingProviderDataError,
    TrainingProviderError,
    TrainingSessionNotFoundError,
    TrainingSessionStateError,
)
from trainhost.ktrdr.features import FeatureProvider, FeatureSet
from trainhost.ktrdr.manager import TrainingManager

__all__ = [
    "CsvFeatureProvider",
    "FeatureProvider",
    "FeatureSet",
    "TrainingAdapter",
    "TrainingHostBusyError",
    "TrainingManager",
    "TrainingProviderConnectionError",
    "TrainingProviderDataError",
    "TrainingProviderError",
    "TrainingSessionNotFoundError",
    "TrainingSessionStateError",
]
