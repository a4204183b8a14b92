"Arbitrary-scale super-resolution with implicit neural representations: a workbook to read, run and import."

__version__ = "0.1.0"

# Names that are offered at the top, and where they live. They are imported when first asked for,
# so that `import inr_assr` costs nothing and every module stays importable by itself.
_PLACES = {
    "InputError": "foundations.errors",
    "build_model": "models.model",
    "ASSRModel": "models.model",
    "load_model": "models.checkpoints",
    "save_model": "models.checkpoints",
    "TrainingOrchestrator": "faces.orchestrators",
    "TestingOrchestrator": "faces.orchestrators",
    "BaseTestingConfiguration": "faces.configuration",
    "EncoderType": "faces.configuration",
    "DecoderType": "faces.configuration",
    "RecipeType": "faces.configuration",
    "BenchmarkType": "faces.configuration",
    "SavedModelType": "faces.configuration",
    "TestingStrategy": "faces.configuration",
}
__all__ = list(_PLACES)


def __getattr__(name):
    if name in _PLACES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return [*globals(), *_PLACES]
