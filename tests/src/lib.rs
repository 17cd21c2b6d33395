//! Black-box tests; they live beside this file.
