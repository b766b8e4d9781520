use std::time::Duration;

/// Shortens a delay by up to a half, so that processes that lost the server together do not come back together.
pub(super) fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(0.5 + fastrand::f64() / 2.0)
}
