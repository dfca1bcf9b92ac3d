"""Caches of what Beam computes anew for each step of a graph, always with the same result."""

import contextlib
import copy
import shutil
from argparse import Namespace
from collections.abc import Iterator
from inspect import Signature
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser
from apache_beam.transforms import core, ptransform, userstate
from apache_beam.transforms.core import CallableWrapperDoFn, DoFn
from apache_beam.typehints import decorators

_ATOMS = (str, int, float, bool, type(None))


@contextlib.contextmanager
def beam_caches() -> Iterator[None]:
    """Let Beam remember the flags that it has parsed, and the classes and functions that it has looked at."""
    with pytest.MonkeyPatch.context() as patch:
        # argparse asks for each option how wide the terminal is.
        size = shutil.get_terminal_size()
        patch.setattr(shutil, "get_terminal_size", lambda *_, **__: size)
        patch.setattr(PipelineOptions, "view_as", _remembering_flags(PipelineOptions.view_as))
        patch.setattr(PipelineOptions, "_visible_option_list", _visible_option_list)
        patch.setattr(userstate, "get_dofn_specs", _remembering_classes(userstate.get_dofn_specs))
        signature = _remembering_functions(decorators.get_signature)
        for module in (decorators, core):
            patch.setattr(module, "get_signature", signature)
        # Each function of a step is pickled and unpickled to see whether it can be, before it is pickled to be sent.
        patch.setattr(ptransform, "pickler", SimpleNamespace(**{**vars(pickler), "roundtrip": lambda value: value}))
        yield


def _remembering_flags(view_as: Any) -> Any:
    """Unpatched: for each view of the options, a parser is built from all options of a class, and parses all flags."""
    parsers: dict[type, _BeamArgumentParser] = {}
    parsed: dict[tuple[type, tuple[str, ...]], dict[str, Any]] = {}

    def parser_of(cls: type[PipelineOptions]) -> _BeamArgumentParser:
        if cls not in parsers:
            parsers[cls] = _BeamArgumentParser(allow_abbrev=False)
            for base in cls.mro()[: cls.mro().index(PipelineOptions)]:
                if "_add_argparse_args" in vars(base):
                    base._add_argparse_args(parsers[cls])  # type: ignore[attr-defined]
        return parsers[cls]

    def view(self: Any, cls: type[PipelineOptions]) -> Any:
        if self._flags is None or cls.__init__ is not PipelineOptions.__init__:
            return view_as(self, cls)
        key = (cls, tuple(self._flags))
        if key not in parsed:
            parsed[key] = vars(parser_of(cls).parse_known_args(self._flags)[0])
        made = cls.__new__(cls)
        values = {name: value if type(value) in _ATOMS else copy.deepcopy(value) for name, value in parsed[key].items()}
        for name, value in (("_flags", self._flags), ("_visible_options", Namespace(**values))):
            object.__setattr__(made, name, value)
        for name, value in values.items():
            self._all_options.setdefault(name, value)
        object.__setattr__(made, "_all_options", self._all_options)
        return made

    return view


def _visible_option_list(self: PipelineOptions) -> list[str]:
    """Unpatched: all attributes of an object are listed, those of its class included, for each look at an option."""
    return sorted(vars(self._visible_options))


def _remembering_classes(get_dofn_specs: Any) -> Any:
    """Unpatched: the signatures of all methods are inspected, several times for each step."""
    found: dict[type[DoFn], tuple[set[Any], set[Any]]] = {}

    def specs(dofn: DoFn) -> tuple[set[Any], set[Any]]:
        cls = type(dofn)
        # The answer is the class's, unless a method was given to the instance. The class of a plain function has none
        # of its own: Beam looks at methods only.
        is_of_class = cls is CallableWrapperDoFn or cls._process_argspec_fn is DoFn._process_argspec_fn
        if not is_of_class or any(isinstance(value, MethodType) for value in vars(dofn).values()):
            return get_dofn_specs(dofn)  # type: ignore[no-any-return]
        if cls not in found:
            found[cls] = get_dofn_specs(dofn)
        states, timers = found[cls]
        return set(states), set(timers)

    return specs


def _remembering_functions(get_signature: Any) -> Any:
    """Unpatched: the signature of a step's function is inspected anew for each step that has it."""
    found: dict[tuple[FunctionType, bool], Signature] = {}

    def signature(function: Any) -> Signature:
        is_bound = isinstance(function, MethodType)
        plain = function.__func__ if is_bound else function
        if not isinstance(plain, FunctionType):
            return get_signature(function)  # type: ignore[no-any-return]
        if (plain, is_bound) not in found:
            found[plain, is_bound] = get_signature(function)
        return found[plain, is_bound]

    return signature
