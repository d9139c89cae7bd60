//! procore-auth.wasi.wasm in stock wasmtime; everything is in `tests/`.
