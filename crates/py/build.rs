//! Makes `cfg(Py_3_14)`, `cfg(Py_GIL_DISABLED)` and their like known to this crate.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
