"""Which cluster should this data or ML job run on, and is it worth it?

The functions below are what the command line calls; importing this package loads no engine and no array library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nodewise.advice_api import advise, replay_advice, replay_forecast
    from nodewise.api import (
        check_data,
        compare,
        costs,
        data_stats,
        import_eventlog,
        prepare,
        run,
        score,
        speedtest,
        train,
    )
    from nodewise.cluster_api import (
        cluster_events,
        create_cluster,
        delete_cluster,
        get_cluster,
        list_clusters,
        resize_cluster,
        start_cluster,
        stop_cluster,
    )
    from nodewise.forecast_api import forecast, replay
    from nodewise.models_api import (
        alias_model,
        delete_model,
        describe_model,
        get_model,
        list_models,
        register_model,
    )

    __version__: str

__all__ = [
    "__version__",
    "advise",
    "alias_model",
    "check_data",
    "cluster_events",
    "compare",
    "costs",
    "create_cluster",
    "data_stats",
    "delete_cluster",
    "delete_model",
    "describe_model",
    "forecast",
    "get_cluster",
    "get_model",
    "import_eventlog",
    "list_clusters",
    "list_models",
    "prepare",
    "register_model",
    "replay",
    "replay_advice",
    "replay_forecast",
    "resize_cluster",
    "run",
    "score",
    "speedtest",
    "start_cluster",
    "stop_cluster",
    "train",
]

_ADVICE = {"advise", "replay_advice", "replay_forecast"}
_FORECAST = {"forecast", "replay"}
_CLUSTERS = {name for name in __all__ if "cluster" in name}
_MODELS = {name for name in __all__ if "model" in name}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Every worker imports this package, and finding versions takes longer than all else that it imports.
        from importlib.metadata import version

        return version("nodewise")
    if name in _ADVICE:
        return getattr(import_module("nodewise.advice_api"), name)
    if name in _CLUSTERS:
        return getattr(import_module("nodewise.cluster_api"), name)
    if name in _FORECAST:
        return getattr(import_module("nodewise.forecast_api"), name)
    if name in _MODELS:
        return getattr(import_module("nodewise.models_api"), name)
    if name in __all__:
        return getattr(import_module("nodewise.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
