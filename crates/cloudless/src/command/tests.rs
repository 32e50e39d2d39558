use clap::{Command, CommandFactory as _};

use super::Cloudless;

/// Every command, the nested ones too, with its whole name.
fn commands() -> Vec<(String, Command)> {
    fn collect(command: &Command, name: &str, all: &mut Vec<(String, Command)>) {
        all.push((name.to_owned(), command.clone()));
        for subcommand in command
            .get_subcommands()
            .filter(|it| it.get_name() != "help")
        {
            collect(
                subcommand,
                &format!("{name} {}", subcommand.get_name()),
                all,
            );
        }
    }
    let mut root = Cloudless::command();
    root.build();
    let mut all = Vec::new();
    collect(&root, "cloudless", &mut all);
    all
}

#[test]
fn the_definition_is_sound() {
    Cloudless::command().debug_assert();
}

#[test]
fn every_command_and_flag_is_explained() {
    for (name, command) in commands() {
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(about.len() > 10, "{name} is not explained");
        assert!(!about.ends_with('.'), "{name}: {about}");
        for argument in command.get_arguments().filter(|it| !it.is_hide_set()) {
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.len() >= 10,
                "{name} {} is not explained",
                argument.get_id()
            );
            assert!(!help.ends_with('.'), "{name} {}: {help}", argument.get_id());
        }
        assert!(command.get_after_help().is_some(), "{name} has no examples");
    }
}

#[test]
fn help_fits_a_terminal() {
    for (name, mut command) in commands() {
        for help in [command.render_help(), command.render_long_help()] {
            for line in help.to_string().lines() {
                assert!(line.chars().count() <= 100, "{name}: {line}");
            }
        }
    }
}
