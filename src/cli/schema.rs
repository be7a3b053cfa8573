//! `schema`: the JSON Schemas, as they are published under `schema/`.

use super::exit::{Ended, Exit};
use super::printer::Printer;
use crate::reconcile::status::status_schema;
use crate::spec::schema::connector_schema_text;

/// Which schema.
#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// Of connector files, or of the status document
    #[arg(value_enum, default_value = "connector")]
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    Connector,
    Status,
}

pub(super) fn run(args: &SchemaArgs, printer: &Printer) -> Ended {
    match args.of {
        Of::Connector => printer.data(&connector_schema_text())?,
        Of::Status => printer.value(&status_schema())?,
    }
    Ok(Exit::Fine)
}
