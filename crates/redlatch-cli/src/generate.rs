//! Completion scripts and manual pages, from the definition of the arguments.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Arguments;
use crate::exit::{Exit, Failure};
use crate::output;

/// Prints the completion script for a shell.
pub(crate) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "redlatch", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Prints the manual page of redlatch, or of one of its commands.
pub(crate) fn man(command: Option<&str>) -> Result<Exit, Failure> {
    let mut root = Arguments::command();
    // Gives the commands their full names.
    root.build();
    let page = match command {
        None => root,
        Some(name) => root.find_subcommand(name).cloned().ok_or_else(|| {
            Failure::usage(format!("there is no command `{name}`; `redlatch --help` lists them"))
        })?,
    };
    let mut text = Vec::new();
    Man::new(page)
        .source(concat!("redlatch ", env!("CARGO_PKG_VERSION")))
        .render(&mut text)
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    output::print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}
