//! ACLs: stored and told, never enforced.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::{
    CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
    DescribeAclsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::apis::Context;
use super::code;

const ANY: i8 = 1;
const MATCH: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;

/// One access rule, in the protocol's numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Acl {
    resource_type: i8,
    resource_name: String,
    pattern_type: i8,
    principal: String,
    host: String,
    operation: i8,
    permission: i8,
}

struct Filter<'a> {
    resource_type: i8,
    resource_name: Option<&'a str>,
    pattern_type: i8,
    principal: Option<&'a str>,
    host: Option<&'a str>,
    operation: i8,
    permission: i8,
}

impl Filter<'_> {
    fn matches(&self, acl: &Acl) -> bool {
        let is = |wanted: i8, given: i8| wanted == ANY || wanted == given;
        let named = |wanted: Option<&str>, given: &str| wanted.is_none_or(|wanted| wanted == given);
        let pattern = match (self.pattern_type, self.resource_name) {
            (ANY, name) => named(name, &acl.resource_name),
            (MATCH, None) => true,
            (MATCH, Some(name)) if acl.pattern_type == PREFIXED => name.starts_with(&acl.resource_name),
            (MATCH, Some(name)) => acl.resource_name == name || acl.resource_name == "*",
            (wanted, name) => wanted == acl.pattern_type && named(name, &acl.resource_name),
        };
        pattern
            && is(self.resource_type, acl.resource_type)
            && named(self.principal, &acl.principal)
            && named(self.host, &acl.host)
            && is(self.operation, acl.operation)
            && is(self.permission, acl.permission)
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) async fn describe(context: &Context, request: DescribeAclsRequest) -> DescribeAclsResponse {
    if let Some(code) = context.planned("", None) {
        return DescribeAclsResponse::default().with_error_code(code);
    }
    let filter = Filter {
        resource_type: request.resource_type_filter,
        resource_name: request.resource_name_filter.as_deref(),
        pattern_type: request.pattern_type_filter,
        principal: request.principal_filter.as_deref(),
        host: request.host_filter.as_deref(),
        operation: request.operation,
        permission: request.permission_type,
    };
    let state = context.inner.lock();
    let mut resources: BTreeMap<(i8, &str, i8), Vec<AclDescription>> = BTreeMap::new();
    for acl in state.acls.iter().filter(|acl| filter.matches(acl)) {
        let told = AclDescription::default().with_principal(text(&acl.principal)).with_host(text(&acl.host));
        let told = told.with_operation(acl.operation).with_permission_type(acl.permission);
        resources.entry((acl.resource_type, &acl.resource_name, acl.pattern_type)).or_default().push(told);
    }
    let resource = |((kind, name, pattern), acls): ((i8, &str, i8), Vec<AclDescription>)| {
        let resource = DescribeAclsResource::default().with_resource_type(kind).with_resource_name(text(name));
        resource.with_pattern_type(pattern).with_acls(acls)
    };
    let resources = resources.into_iter().map(resource).collect();
    DescribeAclsResponse::default().with_error_message(None).with_resources(resources)
}

pub(crate) async fn create(context: &Context, request: CreateAclsRequest) -> CreateAclsResponse {
    let mut response = CreateAclsResponse::default();
    let mut state = context.inner.lock();
    for creation in request.creations {
        let planned = context.planned(&creation.resource_name, None);
        let concrete = matches!(creation.resource_pattern_type, LITERAL | PREFIXED);
        let code = planned.unwrap_or(if concrete { code::NONE } else { code::INVALID_REQUEST });
        if code == code::NONE {
            state.acls.insert(Acl {
                resource_type: creation.resource_type,
                resource_name: creation.resource_name.to_string(),
                pattern_type: creation.resource_pattern_type,
                principal: creation.principal.to_string(),
                host: creation.host.to_string(),
                operation: creation.operation,
                permission: creation.permission_type,
            });
        }
        response.results.push(AclCreationResult::default().with_error_code(code).with_error_message(None));
    }
    response
}

pub(crate) async fn delete(context: &Context, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let mut response = DeleteAclsResponse::default();
    let mut state = context.inner.lock();
    for asked in &request.filters {
        let filter = Filter {
            resource_type: asked.resource_type_filter,
            resource_name: asked.resource_name_filter.as_deref(),
            pattern_type: asked.pattern_type_filter,
            principal: asked.principal_filter.as_deref(),
            host: asked.host_filter.as_deref(),
            operation: asked.operation,
            permission: asked.permission_type,
        };
        let mut result = DeleteAclsFilterResult::default().with_error_message(None);
        if let Some(code) = context.planned(filter.resource_name.unwrap_or_default(), None) {
            result.error_code = code;
        } else {
            let (gone, kept) = std::mem::take(&mut state.acls).into_iter().partition(|acl| filter.matches(acl));
            state.acls = kept;
            let gone: std::collections::BTreeSet<Acl> = gone;
            let told = |acl: &Acl| {
                let told = DeleteAclsMatchingAcl::default().with_error_message(None);
                let told = told.with_resource_type(acl.resource_type).with_resource_name(text(&acl.resource_name));
                let told = told.with_pattern_type(acl.pattern_type).with_principal(text(&acl.principal));
                told.with_host(text(&acl.host)).with_operation(acl.operation).with_permission_type(acl.permission)
            };
            result.matching_acls = gone.iter().map(told).collect();
        }
        response.filter_results.push(result);
    }
    response
}
