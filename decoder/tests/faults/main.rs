//! What the processor faults on: memory behind the end of the bytes, and files that shrink.

mod bus_error;
mod unmapped;
