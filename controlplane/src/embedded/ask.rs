//! What the node asks of a client of the older era while a tool runs: sampling and elicitation as requests on the
//! call's own stream. Clients of the newer era are asked in rounds instead.
//!
//! Never waits longer than [`CLIENT_ANSWER_WAIT_MAX`] for a client.

#![expect(deprecated, reason = "sampling is deprecated, but clients of the older era offer it")]

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolResult, ContentBlock, CreateMessageRequestParams, ElicitRequestParams, ElicitationSchema,
        SamplingMessage,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

use super::{content, server::CLIENT_ANSWER_WAIT_MAX};

/// Has the client's model answer `prompt`.
pub(super) async fn sampling(
    context: &RequestContext<RoleServer>,
    prompt: &str,
) -> Result<CallToolResult, ErrorData> {
    if context.client_capabilities().is_none_or(|client| client.sampling.is_none()) {
        return Ok(failed("this client declares no sampling"));
    }
    let params = CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100);
    Ok(match tokio::time::timeout(CLIENT_ANSWER_WAIT_MAX, context.peer.create_message(params)).await {
        Ok(Ok(result)) => {
            let text = result
                .message
                .content
                .first()
                .and_then(|block| block.as_text())
                .map_or("", |text| &text.text);
            content::text(format!("LLM response: {text}"))
        }
        Ok(Err(error)) => failed(&format!("the client could not sample: {error}")),
        Err(_) => failed("the client did not answer in time"),
    })
}

/// Asks the client's user for a name and an address.
pub(super) async fn elicitation(
    context: &RequestContext<RoleServer>,
    message: &str,
) -> Result<CallToolResult, ErrorData> {
    let schema = json!({
        "type": "object",
        "properties": {
            "username": { "type": "string", "description": "User's response" },
            "email": { "type": "string", "description": "User's email address" },
        },
        "required": ["username", "email"],
    });
    elicit(context, message, schema, "User response").await
}

/// Asks with a default for each primitive type (SEP-1034).
pub(super) async fn elicitation_with_defaults(
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "description": "User name", "default": "John Doe" },
            "age": { "type": "integer", "description": "User age", "default": 30 },
            "score": { "type": "number", "description": "User score", "default": 95.5 },
            "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
            "verified": { "type": "boolean", "description": "Verification status", "default": true },
        },
        "required": [],
    });
    elicit(context, "Please review the pre-filled values", schema, "Elicitation completed").await
}

/// Asks with every kind of choice (SEP-1330).
pub(super) async fn elicitation_with_enums(
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let choice = |value: &str, title: &str| json!({ "const": value, "title": title });
    let titled = json!([
        choice("value1", "First Option"),
        choice("value2", "Second Option"),
        choice("value3", "Third Option"),
    ]);
    let plain = json!(["option1", "option2", "option3"]);
    let schema = json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": plain },
            "titledSingle": { "type": "string", "oneOf": titled },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": { "type": "array", "items": { "type": "string", "enum": plain } },
            "titledMulti": { "type": "array", "items": { "anyOf": titled } },
        },
        "required": [],
    });
    elicit(context, "Please choose", schema, "Elicitation completed").await
}

async fn elicit(
    context: &RequestContext<RoleServer>,
    message: &str,
    schema: Value,
    answer_prefix: &str,
) -> Result<CallToolResult, ErrorData> {
    if context.client_capabilities().is_none_or(|client| client.elicitation.is_none()) {
        return Ok(failed("this client declares no elicitation"));
    }
    let requested_schema: ElicitationSchema =
        serde_json::from_value(schema).map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
    let params = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message.to_owned(),
        requested_schema,
    };
    Ok(match context.peer.create_elicitation_with_timeout(params, Some(CLIENT_ANSWER_WAIT_MAX)).await {
        Ok(answer) => {
            let action = serde_json::to_value(&answer.action).unwrap_or_default();
            let action = action.as_str().unwrap_or("unknown");
            let content = answer.content.unwrap_or_default();
            content::text(format!("{answer_prefix}: action={action}, content={content}"))
        }
        Err(error) => failed(&format!("the client's user could not be asked: {error}")),
    })
}

/// A failure that the caller is meant to read.
fn failed(why: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(why)])
}
