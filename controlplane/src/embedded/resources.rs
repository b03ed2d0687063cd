//! The resources: two static ones, one that changes, and a template.
//!
//! Never does I/O; every content is made from constants and the URI.

use rmcp::{
    ErrorData,
    model::{
        CacheScope, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResponse,
        ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
    },
};
use serde_json::json;

use super::content::PNG_BASE64;

/// The resource whose content changes; clients subscribe to it.
pub(super) const WATCHED_URI: &str = "test://watched-resource";
const TEXT_URI: &str = "test://static-text";
const BINARY_URI: &str = "test://static-binary";
const TEMPLATE_PREFIX: &str = "test://template/";
const TEMPLATE_SUFFIX: &str = "/data";
/// Lists and static contents change with a new version of the node only.
pub(super) const STATIC_TTL_MS: u64 = 60_000;

pub(super) fn list() -> ListResourcesResult {
    ListResourcesResult::with_all_items(vec![
        Resource::new(TEXT_URI, "static-text")
            .with_description("A text that never changes")
            .with_mime_type("text/plain"),
        Resource::new(BINARY_URI, "static-binary")
            .with_description("An image that never changes")
            .with_mime_type("image/png"),
        Resource::new(WATCHED_URI, "watched-resource")
            .with_description("Gets a new revision whenever `test_update_resource` is called")
            .with_mime_type("text/plain"),
    ])
    .with_ttl_ms(STATIC_TTL_MS)
    .with_cache_scope(CacheScope::Public)
}

pub(super) fn templates() -> ListResourceTemplatesResult {
    ListResourceTemplatesResult::with_all_items(vec![
        ResourceTemplate::new("test://template/{id}/data", "template-data")
            .with_description("Data about the given id")
            .with_mime_type("application/json"),
    ])
    .with_ttl_ms(STATIC_TTL_MS)
    .with_cache_scope(CacheScope::Public)
}

/// Reads `uri`; `watched_revision` is the state of [`WATCHED_URI`].
///
/// # Errors
/// Resource not found, with the URI in its data (SEP-2164).
pub(super) fn read(uri: &str, watched_revision: u64) -> Result<ReadResourceResponse, ErrorData> {
    let (contents, ttl_ms) = match uri {
        TEXT_URI => {
            (ResourceContents::text("This is the content of the static text resource.", uri), STATIC_TTL_MS)
        }
        BINARY_URI => (ResourceContents::blob(PNG_BASE64, uri).with_mime_type("image/png"), STATIC_TTL_MS),
        WATCHED_URI => (ResourceContents::text(format!("Revision {watched_revision}"), uri), 0),
        _ => {
            let id = template_id(uri).ok_or_else(|| {
                ErrorData::resource_not_found("Resource not found", Some(json!({ "uri": uri })))
            })?;
            let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
            (ResourceContents::text(data.to_string(), uri).with_mime_type("application/json"), STATIC_TTL_MS)
        }
    };
    Ok(ReadResourceResult::new(vec![contents])
        .with_ttl_ms(ttl_ms)
        .with_cache_scope(CacheScope::Public)
        .into())
}

/// The `{id}` of a URI that fits the template: one non-empty segment.
fn template_id(uri: &str) -> Option<&str> {
    let id = uri.strip_prefix(TEMPLATE_PREFIX)?.strip_suffix(TEMPLATE_SUFFIX)?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_one_non_empty_segment() {
        assert_eq!(template_id("test://template/123/data"), Some("123"));
        assert_eq!(template_id("test://template//data"), None);
        assert_eq!(template_id("test://template/a/b/data"), None);
        assert_eq!(template_id("test://template/data"), None);
        assert_eq!(template_id("test://other/1/data"), None);
    }

    #[test]
    fn everything_listed_can_be_read() {
        for resource in list().resources {
            assert!(read(&resource.uri, 0).is_ok(), "{}", resource.uri);
        }
    }

    #[test]
    fn an_unknown_resource_is_named_in_the_error() {
        let error = read("test://nothing", 0).unwrap_err();
        assert_eq!(error.data, Some(json!({ "uri": "test://nothing" })));
    }
}
