"""Functions that only compiled functions call: compiled without machine code and an entry of their own.

Numba compiles every function that a kernel calls as if Python called it too: with a wrapper that takes Python's
objects, and to machine code, of which the kernel contains another copy. Here a function that is compiled because a
kernel calls it stays LLVM's code until it is linked into the kernel.

Guarantees: one that Python calls after all is then compiled whole. Only what is called by winnow's own kernels is
concerned. State is guarded by Numba's lock of its compiler, which whoever compiles holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

KIND = "bitcode"  # Numba's word for a library that is kept as LLVM's code


class NoEntry:
    """Stands where Numba keeps what Python calls: the key by which callers find the function."""

    def __call__(self, *_: object) -> None:
        raise TypeError("a subroutine has no entry for Python")


class _State:
    """own: a kernel of winnow's is being compiled; called: by another one, which asks for this function."""

    own = False
    called = False


_state = _State()


def is_subroutine(found: Any) -> bool:
    """Tell whether a compile result has no entry for Python."""
    return isinstance(getattr(found, "entry_point", None), NoEntry)


def usable(found: Any) -> bool:
    """Tell whether a compile result is what is asked for: a kernel that Python calls needs an entry."""
    return _state.called or not is_subroutine(found)


def install(is_own: Callable[[Any], bool]) -> None:
    """Have Numba compile so; once per process. is_own: tells a kernel of winnow's by its Python function.

    Where a method that this builds upon is gone, Numba does as it always does.
    """
    from numba.core import codegen, compiler, dispatcher

    wanted = (
        (dispatcher, "_FunctionCompiler", "_compile_core"),
        (dispatcher, "_FunctionCompiler", "_customize_flags"),
        (dispatcher, "_DispatcherBase", "get_call_template"),
        (dispatcher, "_DispatcherBase", "add_overload"),
        (dispatcher, "Dispatcher", "compile"),
        (codegen, "JITCodeLibrary", "_finalize_final_module"),
        (codegen, "CPUCodeLibrary", "_finalize_dynamic_globals"),
        (codegen, "CPUCodeLibrary", "_verify_declare_only_symbols"),
        (compiler, "CompileResult", "_find_referenced_environments"),
        (compiler, "CompileResult", "_reduce"),
        (compiler, "CompileResult", "_rebuild"),
    )
    if all(hasattr(getattr(module, kind, None), method) for module, kind, method in wanted):
        _compile_subroutines(dispatcher, is_own)
        _hand_them_out(dispatcher)
        _keep_them_as_code(codegen, compiler)


def _compile_subroutines(dispatcher: Any, is_own: Callable[[Any], bool]) -> None:
    """Compile what winnow's kernels call without wrapper and machine code; set the environments of what they call."""
    kind = dispatcher._FunctionCompiler
    core_as_ever, flags_as_ever = kind._compile_core, kind._customize_flags

    def compile_core(self: Any, args: Any, return_type: Any) -> Any:
        own, called = _state.own, _state.called
        _state.own = mine = called or is_own(self.py_func)
        try:
            found = core_as_ever(self, args, return_type)
        finally:
            _state.own, _state.called = own, called
        if not found.objectmode and called and found.entry_point is None:
            return _subroutine(found)
        if mine and found.entry_point is not None:  # else its machine code is not loaded: a callback for C, say
            _set_environments(found)
        return found

    def customized(self: Any, flags: Any) -> Any:
        found = flags_as_ever(self, flags)
        if _state.called:
            found.no_cpython_wrapper = found.no_cfunc_wrapper = found.no_compile = True
        _state.called = False  # what this function calls is asked for in turn
        return found

    kind._compile_core, kind._customize_flags = compile_core, customized


def _subroutine(found: Any) -> Any:
    """Make a compile result known to its callers under a key instead of an entry for Python."""
    made = found._replace(entry_point=NoEntry())
    made.library._is_subroutine = True
    made.target_context.insert_user_function(made.entry_point, made.fndesc, [made.library])
    return made


def _set_environments(found: Any) -> None:
    """Tell machine code the environments of the functions in it, as Numba does with each that it compiles whole."""
    module = found.library._final_module
    defined = {value.name for value in module.global_variables if not value.is_declaration}
    for environment in found._find_referenced_environments():
        if environment.env_name in defined:
            found.library.codegen.set_env(environment.env_name, environment)


def _hand_them_out(dispatcher: Any) -> None:
    """Let compiled functions have subroutines, and Python nothing but functions with an entry."""
    from numba.core import sigutils
    from numba.core.compiler_lock import global_compiler_lock

    base, kind = dispatcher._DispatcherBase, dispatcher.Dispatcher
    template_as_ever, add_as_ever, compile_as_ever = base.get_call_template, base.add_overload, kind.compile

    def get_call_template(self: Any, args: Any, kws: Any) -> Any:
        called, _state.called = _state.called, _state.own
        try:
            return template_as_ever(self, args, kws)
        finally:
            _state.called = called

    def add_overload(self: Any, found: Any) -> None:
        if is_subroutine(found):
            self.overloads[tuple(found.signature.args)] = found
        else:
            add_as_ever(self, found)

    def compile_(self: Any, sig: Any) -> Any:
        with global_compiler_lock:
            args, _ = sigutils.normalize_signature(sig)
            if not usable(self.overloads.get(tuple(args))):
                del self.overloads[tuple(args)]
            return compile_as_ever(self, sig)

    base.get_call_template, base.add_overload, kind.compile = get_call_template, add_overload, compile_


def _keep_them_as_code(codegen: Any, compiler: Any) -> None:
    """Neither load a subroutine into the process nor store machine code of it."""
    library, result = codegen.JITCodeLibrary, compiler.CompileResult
    finalize_as_ever, reduce_as_ever, rebuild_as_ever = library._finalize_final_module, result._reduce, result._rebuild

    def finalize(self: Any) -> None:
        if not getattr(self, "_is_subroutine", False):
            finalize_as_ever(self)
            return
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def reduce(self: Any) -> Any:
        if not is_subroutine(self):
            return reduce_as_ever(self)
        stored = self.library.serialize_using_bitcode()
        self.fndesc.typemap = self.fndesc.calltypes = None
        typed, environments = str(self.type_annotation), tuple(self._find_referenced_environments())
        return (stored, self.fndesc, self.environment, self.signature, False, self.lifted, typed, [], environments)

    def rebuild(context: Any, stored: Any, *rest: Any) -> Any:
        if stored[1] != KIND:
            return rebuild_as_ever(context, stored, *rest)
        return _rebuilt(result, context, stored, *rest)

    library._finalize_final_module, result._reduce = finalize, reduce
    result._rebuild = staticmethod(rebuild)


def _rebuilt(result: Any, context: Any, stored: Any, *rest: Any) -> Any:
    """Return the compile result of a subroutine that was stored. rest: as `reduce` gives it."""
    from numba.core.codegen import ll

    fndesc, environment, signature, objectmode, lifted, typed, _, environments = rest
    library = context.codegen().create_library(stored[0])
    library._final_module = ll.parse_bitcode(stored[2])
    library._is_subroutine = True
    library._finalize_final_module()
    return result(
        target_context=context,
        typing_context=context.typing_context,
        library=library,
        environment=environment,
        entry_point=NoEntry(),
        fndesc=fndesc,
        type_annotation=typed,
        signature=signature,
        objectmode=objectmode,
        lifted=lifted,
        typing_error=None,
        call_helper=None,
        metadata=None,
        reload_init=[],
        referenced_envs=environments,  # which `_set_environments` finds while they are kept
    )
