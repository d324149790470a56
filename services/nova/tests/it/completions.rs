//! Completion scripts.

use crate::harness::Nova;

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = Nova::new().run(&format!("completions {shell}"));
        assert_eq!(ended.code, 0, "{shell}: {}", ended.stderr);
        assert!(ended.stdout.contains("orchestrate"), "{shell} does not know orchestrate");
    }
}
