//! Sets client quotas through a listener where whoever comes is a super user.

use kafka_protocol::messages::AlterClientQuotasRequest;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::protocol::StrBytes;

use super::raw::{call, none_failed};

/// Limits whoever comes with that `client.id`: `consumer_byte_rate` or `producer_byte_rate`, in bytes per second.
pub(crate) fn limit(address: &str, client_id: &str, quota: &str, bytes_per_second: u32) -> Result<(), String> {
    let text = |value: &str| StrBytes::from_string(value.to_owned());
    let entity = EntityData::default().with_entity_type(text("client-id")).with_entity_name(Some(text(client_id)));
    let op = OpData::default().with_key(text(quota)).with_value(f64::from(bytes_per_second));
    let entry = EntryData::default().with_entity(vec![entity]).with_ops(vec![op]);
    let answer = call(address, 1, &AlterClientQuotasRequest::default().with_entries(vec![entry]))?;
    none_failed("quotas", answer.entries.iter().map(|entry| entry.error_code), &[])
}
