use std::future::poll_fn;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Returns a token that Ctrl-C, SIGTERM or the loss of the terminal cancels. From now on these signals do not end the
/// process by themselves.
///
/// The loss of the terminal and Ctrl-C stay ignored if they were at the start, as by `nohup` or in the background of a
/// script.
pub fn shutdown_on_signal() -> anyhow::Result<CancellationToken> {
    let optional = [SignalKind::hangup(), SignalKind::interrupt()];
    // All are asked about before the first is handled: a handled signal counts as not ignored.
    let optional: Vec<_> = optional.into_iter().filter(|kind| !is_ignored(*kind)).collect();
    let kinds = optional.into_iter().chain([SignalKind::terminate()]);
    let mut signals = kinds.map(signal).collect::<Result<Vec<Signal>, _>>()?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        let any = poll_fn(|context| {
            let is_received = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if is_received { Poll::Ready(()) } else { Poll::Pending }
        });
        any.await;
        token.cancel();
    });
    Ok(shutdown)
}

/// True if the process ignores a signal. The usual way to ask, `sigaction`, is unsafe code.
#[cfg(target_os = "linux")]
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// True if the process ignores a signal: then a child does as well, and survives it.
#[cfg(not(target_os = "linux"))]
fn is_ignored(kind: SignalKind) -> bool {
    let script = format!("kill -{} $$", kind.as_raw_value());
    std::process::Command::new("/bin/sh").args(["-c", &script]).status().is_ok_and(|status| status.success())
}
