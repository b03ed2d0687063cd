//! The constant contents that several tools, resources and prompts share, and short constructors for results.
//!
//! Never depends on a request.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::json;

/// A PNG of one red pixel, in base64.
pub(super) const PNG_BASE64: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mO4oKAAAALUARHyogz6AAAAAElFTkSuQmCC";
/// A WAV of one millisecond of silence, in base64.
pub(super) const WAV_BASE64: &str =
    "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";

/// A tool's result of one text.
pub(super) fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

/// One block of each kind that a client may have to show.
pub(super) fn mixed() -> CallToolResult {
    let resource = ResourceContents::text(
        json!({"test": "data", "value": 123}).to_string(),
        "test://mixed-content-resource",
    )
    .with_mime_type("application/json");
    CallToolResult::success(vec![
        ContentBlock::text("Multiple content types test:"),
        ContentBlock::image(PNG_BASE64, "image/png"),
        ContentBlock::resource(resource),
    ])
}
