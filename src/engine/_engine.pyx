"""The time loops: forward, back-propagation through time, and one streaming step.

The layers (Python) have checked every argument before they call down here, and have picked one type;
the loops know a cell only as a row of the kernels' table (slots, stages, two functions a stage). Each
part of the module is one included file:

    memory.pxi     arrays from Python; memory for tapes, packs and scratch, used again
    weights.pxi    matrices packed for the kernels
    plan.pxi       how many threads, whether they share rows or hidden units, and when signals are looked at
    forward.pxi    x, h0 -> h_1 .. h_T, with or without the tape
    backward.pxi   cotangents on h_t -> gradients of everything
    stream.pxi     one step at a time with buffers bound once
    changes.pxi    weights and settings that change, all at once
"""
cimport cython
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from cpython.buffer cimport (
    PyBuffer_FillInfo, PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)

from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_New

from kernels cimport *

import os

from numpy import ndarray

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)


# ---- the instruction set, chosen once -----------------------------------------------------------

cdef const char *chosen_isa = NULL


def _choose():
    global chosen_isa
    forced = os.environ.get("RNNCORE_ISA", "")
    if not forced:
        chosen_isa = rnn_best_isa()
        return
    name = os.fsencode(forced)
    if rnn_kernels_for(name, 32) == NULL:
        why = "this CPU lacks it" if rnn_isa_compiled(name) else "this build does not know it"
        raise ImportError(
            f"RNNCORE_ISA={forced!r}: {why}; expected one of {', '.join(isas())}, or unset for the best")
    chosen_isa = rnn_kernels_for(name, 32).isa


def isas():
    """The instruction sets that this build has and this CPU runs, best first."""
    names = ("v4", "v3", "neon", "base")
    return tuple(n for n in names if rnn_kernels_for(n.encode(), 32) != NULL)


def isa():
    """The instruction set in use."""
    return chosen_isa.decode()


def compiler():
    """The C compiler that built the module."""
    return COMPILER.decode()


cdef extern from *:
    """
    #if defined(__clang__)
    #define RNN_COMPILER "clang " __clang_version__
    #else
    #define RNN_COMPILER "gcc " __VERSION__
    #endif
    """
    const char *COMPILER "RNN_COMPILER"


def get_num_threads():
    return rnncore_get_num_threads()


def set_num_threads(int n):
    rnncore_set_num_threads(n)


# `rnn_pool_run`, for the other compiled module: all of rnncore works on one set of threads.
pool = PyCapsule_New(<void *>rnn_pool_run, "rnncore._engine.pool", NULL)


_choose()


include "memory.pxi"
include "weights.pxi"
include "plan.pxi"
include "forward.pxi"
include "backward.pxi"
include "stream.pxi"
include "changes.pxi"
