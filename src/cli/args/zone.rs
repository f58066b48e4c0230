//! The arguments of `weir zone`.

use clap::{Args, ValueEnum};

use super::Connection;
use crate::types::stack::DnsView;

/// See [`ClientCommand::Zone`](super::ClientCommand::Zone).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir zone ims\n  weir zone ims --view public >> db.ims.example.com\n\n\
                  It names the machines that there are now: print it again after a change of their number."
)]
pub struct ZoneArgs {
    /// The stack.
    pub stack: String,
    /// Which records.
    #[arg(long, value_enum, default_value_t)]
    pub view: View,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// See [`ZoneArgs::view`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// All: what phones ask for with public addresses, the rest with private ones.
    #[default]
    Whole,
    /// All with private addresses, for a view that machines alone see.
    Internal,
    /// What phones ask for, for a view that the world sees.
    Public,
}

impl From<View> for DnsView {
    fn from(view: View) -> Self {
        match view {
            View::Whole => Self::Whole,
            View::Internal => Self::Internal,
            View::Public => Self::Public,
        }
    }
}
