//! The control loop: observe, plan, apply, status.

mod books;
pub mod compare;
pub mod plan;
