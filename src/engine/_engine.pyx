"""The time loops: forward, back-propagation through time, and one streaming step.

The layers (Python) check every argument and choose one type before they call the functions here. The loops know a cell
only as a row of the kernels' table: its slots, its stages, and two functions for each stage. The module consists of
included files, one subject each:

    memory.pxi     arrays from Python; memory for tapes, packed weights and scratch, kept for the next pass
    cells.pxi      the kernels' table of cells
    plan.pxi       how many threads, whether they divide rows or hidden units, and when signals are handled
    packing.pxi    packing matrices, on several threads
    weights.pxi    the packed weights of one layer and direction
    forward.pxi    x, h0 -> h_1 .. h_T, recorded or not
    sums.pxi       the order in which gradients of weights and biases are summed over steps and rows
    backward.pxi   cotangents on h_t -> gradients of everything
    resets.pxi     steps before which the state of a row is zero
    nets.pxi       many nets of one shape in one call
    linear.pxi     a linear layer, forward and backward
    losses.pxi     softmax cross-entropy and its gradient; draws of a class
    embedding.pxi  rows of a table by number, and the sums of their gradients
    updates.pxi    what optimisers do with all parameters, and the norm of gradients
    stream.pxi     some steps at a time, with buffers bound once
    call.pxi       a call of a layer on plain arrays, as a whole
    record.pxi     a recorded pass on plain arrays, as a whole, and its backward pass
    changes.pxi    weights and settings that change, each change as a whole
    testing.pxi    what only the tests call
"""
cimport cython
from libc.math cimport INFINITY, exp
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release,
    PyObject_GetBuffer)

from cpython.exc cimport PyErr_CheckSignals
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.pycapsule cimport PyCapsule_New

from kernels cimport *

import os

from numpy import arange, ndarray, zeros as new_zeros

cdef extern from *:                 # numpy's arrays without the buffer protocol, which takes as long as a small step
    """
    #define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
    #define NPY_TARGET_VERSION NPY_2_0_API_VERSION
    #include <numpy/arrayobject.h>
    #undef I                        /* of <complex.h>; here it is the size of the input */
    /* An array on memory that `owner` keeps, and which keeps `owner`. */
    static PyObject *rc_array_of(PyObject *owner, char *data, int ndim, npy_intp *shape, npy_intp *strides, int kind) {
        PyObject *a = PyArray_New(&PyArray_Type, ndim, shape, kind, strides, data, 0, NPY_ARRAY_CARRAY, NULL);
        Py_INCREF(owner);
        if (a && PyArray_SetBaseObject((PyArrayObject *)a, owner) < 0) Py_CLEAR(a);
        else if (!a) Py_DECREF(owner);
        return a;
    }
    """
    ctypedef struct PyArrayObject
    enum:
        NPY_FLOAT
        NPY_INTP
        NPY_DOUBLE
    ctypedef enum NPY_ORDER:
        NPY_CORDER
    int _import_array() except -1
    bint PyArray_Check(object)
    bint PyArray_CheckExact(object)
    int PyArray_NDIM(PyArrayObject *) nogil
    Py_ssize_t *PyArray_DIMS(PyArrayObject *) nogil
    Py_ssize_t *PyArray_STRIDES(PyArrayObject *) nogil
    void *PyArray_DATA(PyArrayObject *) nogil
    int PyArray_TYPE(PyArrayObject *) nogil
    Py_ssize_t PyArray_ITEMSIZE(PyArrayObject *) nogil
    bint PyArray_ISCARRAY(PyArrayObject *) nogil
    bint PyArray_ISCARRAY_RO(PyArrayObject *) nogil
    object PyArray_SimpleNew(int, Py_ssize_t *, int)
    object array_of "rc_array_of" (object, char *, int, Py_ssize_t *, Py_ssize_t *, int)
    object PyArray_NewCopy(PyArrayObject *, NPY_ORDER)
    object PyArray_NewLikeArray(PyArrayObject *, NPY_ORDER, void *, int)

_import_array()

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)


# ---- the instruction set, chosen once -----------------------------------------------------------

cdef const char *chosen_isa = NULL


def _choose():
    global chosen_isa
    forced = os.environ.get("RNNCORE_ISA", "")
    if not forced:
        chosen_isa = rc_best_isa()
        return
    name = os.fsencode(forced)
    if rc_kernels_for(name, 32) == NULL:
        why = "this CPU lacks it" if rc_isa_compiled(name) else "this build does not know it"
        raise ImportError(
            f"RNNCORE_ISA={forced!r}: {why}; expected one of {', '.join(isas())}, or unset for the best")
    chosen_isa = rc_kernels_for(name, 32).isa


def isas():
    """The instruction sets that this build has and this CPU runs, best first."""
    names = ("v4", "v3", "neon", "base")
    return tuple(n for n in names if rc_kernels_for(n.encode(), 32) != NULL)


def isa():
    """The instruction set in use."""
    return chosen_isa.decode()


def compiler():
    """The C compiler that built the module."""
    return COMPILER.decode()


cdef extern from *:
    """
    #if defined(__clang__)
    #define RC_COMPILER "clang " __clang_version__
    #else
    #define RC_COMPILER "gcc " __VERSION__
    #endif
    """
    const char *COMPILER "RC_COMPILER"


def get_num_threads():
    return rnncore_get_num_threads()


def set_num_threads(int n):
    rnncore_set_num_threads(n)


_choose()


# For the other compiled module (_hidden_markov): all of rnncore uses one pool of threads and one instruction set.
cdef rc_shared to_share
to_share.hidden_markov = rc_kernels_for(chosen_isa, 64).hidden_markov
to_share.pool_run = rc_pool_run_portions
to_share.now = rc_now
shared = PyCapsule_New(&to_share, "rnncore._engine.shared", NULL)


include "memory.pxi"
include "cells.pxi"
include "plan.pxi"
include "packing.pxi"
include "weights.pxi"
include "forward.pxi"
include "sums.pxi"
include "backward.pxi"
include "resets.pxi"
include "nets.pxi"
include "linear.pxi"
include "losses.pxi"
include "embedding.pxi"
include "updates.pxi"
include "stream.pxi"
include "call.pxi"
include "record.pxi"
include "changes.pxi"
include "testing.pxi"
