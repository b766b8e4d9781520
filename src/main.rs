//! Parses the command line, starts the runtime and calls the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// glibc's allocator took an eighth of the processor's time on `me` (perf record).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // mimalloc asks for huge pages, each of which is resident as a whole: 14 MiB more after the start (`VmRSS`).
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    todo_api::cli::main()
}
