//! `weir token hash`: a line for the token file, from a token on standard input.

use std::io::{self, Read, Write};

use anyhow::{Result, bail};

use crate::{api, cli::args::TokenCommand};

/// Bytes of a token; whoever pipes a file into this by mistake is told.
const TOKEN_MAX: u64 = 4096;
/// Characters of a token, below which it could be guessed.
const TOKEN_MIN: usize = 8;

/// Carries out a command about tokens.
///
/// # Errors
/// Standard input has no token, or the line cannot be printed.
pub fn token(command: &TokenCommand) -> Result<()> {
    let TokenCommand::Hash(args) = command;
    let mut text = String::new();
    io::stdin().take(TOKEN_MAX + 1).read_to_string(&mut text)?;
    let token = text.trim();
    if token.len() < TOKEN_MIN
        || token.contains(char::is_whitespace)
        || text.len() as u64 > TOKEN_MAX
    {
        bail!(
            "standard input has no token: give one word of at least {TOKEN_MIN} characters, like \
             that of `head -c 32 /dev/urandom | base64`"
        );
    }
    let line = api::token_line(token, &args.user, &args.uid, &args.groups);
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}
