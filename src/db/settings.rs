use std::time::Duration;

/// The pool's numbers.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Connections kept for later use.
    pub size: usize,
    /// Connections beyond `size` while they are needed.
    pub overflow: usize,
    /// Age at which a connection is retired.
    pub lifetime: Duration,
    /// Idle time after which a connection is closed.
    pub idle: Duration,
    /// Time a request waits for a connection while all are in use.
    pub wait: Duration,
    /// Time limit of one unit of work once it has a connection.
    pub work: Duration,
}
