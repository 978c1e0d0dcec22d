//! Makes `cfg(Py_3_14)`, `cfg(Py_GIL_DISABLED)` and their like known to this crate, and which Python it is built for.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let version = pyo3_build_config::get().version();
    println!("cargo::rustc-env=ATOLL_PYTHON_MAJOR={}", version.major);
    println!("cargo::rustc-env=ATOLL_PYTHON_MINOR={}", version.minor);
}
