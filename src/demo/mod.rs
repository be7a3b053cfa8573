//! The story told by `mirrorkeeper demo`.
