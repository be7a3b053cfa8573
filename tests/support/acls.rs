//! Grants ACLs through a listener where whoever comes is a super user.

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{CreateAclsRequest, DeleteAclsRequest};
use kafka_protocol::protocol::StrBytes;

use super::raw::{call, none_failed};

/// What an ACL is about. `*` as a name is every one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource<'a> {
    Topic(&'a str),
    /// Every topic whose name begins so.
    Topics(&'a str),
    Group(&'a str),
    TransactionalId(&'a str),
    Cluster,
}

/// What an ACL allows, with the protocol's number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    All = 2,
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

const ANY: i8 = 1;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const ALLOW: i8 = 3;

/// Allows a principal operations from every host.
pub(crate) fn allow(
    address: &str,
    principal: &str,
    resource: Resource<'_>,
    operations: &[Operation],
) -> Result<(), String> {
    let (kind, name, pattern) = match resource {
        Resource::Topic(name) => (2, name, LITERAL),
        Resource::Topics(prefix) => (2, prefix, PREFIXED),
        Resource::Group(name) => (3, name, LITERAL),
        Resource::Cluster => (4, "kafka-cluster", LITERAL),
        Resource::TransactionalId(name) => (5, name, LITERAL),
    };
    let creation = |operation: &Operation| {
        AclCreation::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_resource_pattern_type(pattern)
            .with_principal(text(principal))
            .with_host(text("*"))
            .with_operation(*operation as i8)
            .with_permission_type(ALLOW)
    };
    let request = CreateAclsRequest::default().with_creations(operations.iter().map(creation).collect());
    let answer = call(address, 3, &request)?;
    none_failed("ACLs", answer.results.iter().map(|result| result.error_code), &[])
}

/// Deletes every ACL of a principal.
pub(crate) fn forbid(address: &str, principal: &str) -> Result<(), String> {
    let all = DeleteAclsFilter::default()
        .with_resource_type_filter(ANY)
        .with_pattern_type_filter(ANY)
        .with_principal_filter(Some(text(principal)))
        .with_operation(ANY)
        .with_permission_type(ANY);
    let answer = call(address, 3, &DeleteAclsRequest::default().with_filters(vec![all]))?;
    none_failed("ACLs", answer.filter_results.iter().map(|result| result.error_code), &[])
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}
