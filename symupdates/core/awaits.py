"""Functions that wait for their data: called without it, they return a partial of themselves."""

from functools import cache, partial, wraps
from inspect import signature

signature_of = cache(signature)  # of a function when it is first called: a hundred of them at import take a while


def awaits(*data):
    """Decorate a function so that it waits for its data arguments.

    Called without any of them, the function returns a :func:`functools.partial` of itself that holds every other
    argument in ``.keywords``, defaults included; called with only some of them, it raises a ValueError that says which
    are missing.
    """

    def decorate(function):
        @wraps(function)
        def wrapper(*args, **kwargs):
            bound = signature_of(function).bind(*args, **kwargs)
            bound.apply_defaults()
            missing = [name for name in data if bound.arguments[name] is None]
            if not missing:
                return function(*bound.args, **bound.kwargs)
            others = {name: value for name, value in bound.arguments.items() if name not in data}
            if len(missing) == len(data):
                return partial(wrapper, **others)
            name = function.__name__
            raise ValueError(
                f"{name}: {' and '.join(missing)} missing. Give {' and '.join(data)} together for the updates; or none "
                "of them, and the others by keyword, for a partial that waits for them: "
                f"{name}({', '.join(f'{other}=...' for other in others)})."
            )

        return wrapper

    return decorate
