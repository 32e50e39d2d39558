use clap::{Args, CommandFactory as _, ValueEnum};

use crate::terminal;

/// Print what makes a shell complete commands and flags
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cloudless completions bash > ~/.local/share/bash-completion/completions/cloudless
  cloudless completions zsh > ~/.zfunc/_cloudless     # with ~/.zfunc in fpath
  cloudless completions fish > ~/.config/fish/completions/cloudless.fish

Debian's package has brought them already.")]
pub(super) struct Completions {
    /// For which shell: bash, zsh or fish
    #[arg(value_enum, value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut text = Vec::new();
        let mut command = super::Cloudless::command();
        clap_complete::generate(shell, &mut command, "cloudless", &mut text);
        Ok(terminal::raw(&text)?)
    }
}
