//! Words for people, on standard error. Nobody need read them: a pipe whose reader has gone fails no command.

/// `eprintln!` that does not care whether anybody reads.
macro_rules! tell {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stderr(), $($argument)*).ok();
    }};
}
