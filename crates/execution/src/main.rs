//! Execution: gets permitted orders done, exactly once, and never loses more than its binary allows.

fn main() -> std::process::ExitCode {
    execution::main()
}
