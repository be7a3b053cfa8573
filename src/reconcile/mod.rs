//! The control loop: observe, plan, apply, status.
