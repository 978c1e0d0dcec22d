/* Vectors of doubles that never change, one memory for all interpreters: an extension type that Atoll shares.
 *
 *     cc -shared -fPIC -O2 $(python3-config --includes) -I"$(python -c 'import atoll; print(atoll.get_include())')" \
 *        vectors.c -o vectors.so
 *
 *     vector = vectors.Vector(array.array("d", range(1_000_000)))
 *     atoll.run(lambda: memoryview(vector)[7])      # no copy: the worker's vector has the same memory
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "atoll.h"

/* What is shared. No Python object in it, and memory of malloc: it belongs to no interpreter. */
typedef struct {
    atomic_long references;
    Py_ssize_t length;
    double numbers[];
} Payload;

#define LAYOUT 1 /* of Payload */

/* How many payloads this copy of the library has made that still live. */
static atomic_long live;

static void payload_retain(void *payload)
{
    atomic_fetch_add_explicit(&((Payload *)payload)->references, 1, memory_order_relaxed);
}

static void payload_release(void *payload)
{
    if (atomic_fetch_sub_explicit(&((Payload *)payload)->references, 1, memory_order_acq_rel) == 1) {
        free(payload);
        atomic_fetch_sub(&live, 1);
    }
}

typedef struct {
    PyObject_HEAD
    atoll_share share; /* one reference; counted by its functions, which may be those of another copy of this library */
} Vector;

#define PAYLOAD(self) ((Payload *)((Vector *)(self))->share.payload)

static PyObject *vector_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Py_buffer numbers;
    static char *names[] = {"numbers", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*", names, &numbers)) {
        return NULL;
    }
    Vector *self = NULL;
    Payload *payload = malloc(sizeof(Payload) + numbers.len);
    if (payload == NULL) {
        PyErr_NoMemory();
    } else if ((self = (Vector *)type->tp_alloc(type, 0)) == NULL) {
        free(payload);
    } else {
        atomic_init(&payload->references, 1);
        payload->length = numbers.len / (Py_ssize_t)sizeof(double);
        memcpy(payload->numbers, numbers.buf, numbers.len);
        atomic_fetch_add(&live, 1);
        self->share = (atoll_share){
            ATOLL_SHARE_VERSION, LAYOUT, payload, payload_retain, payload_release, "vectors:rebuild"};
    }
    PyBuffer_Release(&numbers);
    return (PyObject *)self;
}

static void vector_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    atoll_share *share = &((Vector *)self)->share;
    if (share->payload != NULL) {
        share->release(share->payload);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

/* The capsule is valid as long as the vector, which it keeps: Atoll takes a reference of its own while it holds it. */
static void end_capsule(PyObject *capsule)
{
    Py_DECREF((PyObject *)PyCapsule_GetContext(capsule));
}

static PyObject *vector_share(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *capsule = PyCapsule_New(&((Vector *)self)->share, ATOLL_SHARE_CAPSULE, end_capsule);
    if (capsule != NULL) {
        PyCapsule_SetContext(capsule, Py_NewRef(self));
    }
    return capsule;
}

static Py_ssize_t vector_length(PyObject *self)
{
    return PAYLOAD(self)->length;
}

static PyObject *vector_item(PyObject *self, Py_ssize_t index)
{
    if (index < 0 || index >= PAYLOAD(self)->length) {
        PyErr_SetString(PyExc_IndexError, "vector index out of range");
        return NULL;
    }
    return PyFloat_FromDouble(PAYLOAD(self)->numbers[index]);
}

static int vector_buffer(PyObject *self, Py_buffer *view, int flags)
{
    Payload *payload = PAYLOAD(self);
    return PyBuffer_FillInfo(view, self, payload->numbers, payload->length * sizeof(double), 1, flags);
}

static PyMethodDef vector_methods[] = {
    {"__atoll_share__", vector_share, METH_NOARGS, "Return the capsule by which Atoll shares this vector."},
    {NULL},
};

static PyType_Slot vector_slots[] = {
    {Py_tp_doc, "Vector(numbers)\n--\n\nDoubles from an object's memory, which every interpreter that gets them shares."},
    {Py_tp_new, vector_new},
    {Py_tp_dealloc, vector_dealloc},
    {Py_tp_methods, vector_methods},
    {Py_sq_length, vector_length},
    {Py_sq_item, vector_item},
    {Py_bf_getbuffer, vector_buffer},
    {0, NULL},
};

static PyType_Spec vector_spec = {
    .name = "vectors.Vector",
    .basicsize = sizeof(Vector),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = vector_slots,
};

typedef struct {
    PyTypeObject *vector;
} State;

/* What Atoll calls in the receiving interpreter. */
static PyObject *rebuild(PyObject *module, PyObject *capsule)
{
    atoll_share *share = PyCapsule_GetPointer(capsule, ATOLL_SHARE_CAPSULE);
    if (share == NULL) {
        return NULL;
    }
    if (share->version != ATOLL_SHARE_VERSION || share->layout != LAYOUT) {
        PyErr_SetString(PyExc_ValueError, "the vector is from another release of vectors; install the same one here");
        return NULL;
    }
    PyTypeObject *type = ((State *)PyModule_GetState(module))->vector;
    Vector *self = (Vector *)type->tp_alloc(type, 0);
    if (self != NULL) {
        share->retain(share->payload);
        self->share = *share;
        self->share.rebuild = "vectors:rebuild"; /* the text of theirs ends with the capsule */
    }
    return (PyObject *)self;
}

static PyObject *count_live(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(atomic_load(&live));
}

static PyMethodDef module_methods[] = {
    {"rebuild", rebuild, METH_O, "rebuild(capsule)\n--\n\nReturn the vector that Atoll shares with this interpreter."},
    {"live", count_live, METH_NOARGS, "live()\n--\n\nReturn how many payloads made by this copy of the library live."},
    {NULL},
};

static int module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->vector = (PyTypeObject *)PyType_FromModuleAndSpec(module, &vector_spec, NULL);
    return state->vector == NULL ? -1 : PyModule_AddType(module, state->vector);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(((State *)PyModule_GetState(module))->vector);
    return 0;
}

static int module_clear(PyObject *module)
{
    Py_CLEAR(((State *)PyModule_GetState(module))->vector);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "vectors",
    .m_doc = "Vectors that interpreters share.",
    .m_size = sizeof(State),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit_vectors(void)
{
    return PyModuleDef_Init(&module_def);
}
