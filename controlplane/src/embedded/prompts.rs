//! The prompts and the completion of their arguments.
//!
//! Never does I/O.

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CacheScope, CompleteRequestParams, CompleteResult, CompletionInfo, ContentBlock,
        GetPromptRequestParams, GetPromptResponse, GetPromptResult, ListPromptsResult, Prompt,
        PromptArgument, PromptMessage, Reference, ResourceContents, Role,
    },
    service::RequestContext,
};

use super::{
    content::PNG_BASE64,
    rounds::{Ask, Round},
    server::Node,
};

const SIMPLE: &str = "test_simple_prompt";
const WITH_ARGUMENTS: &str = "test_prompt_with_arguments";
const WITH_RESOURCE: &str = "test_prompt_with_embedded_resource";
const WITH_IMAGE: &str = "test_prompt_with_image";
const WITH_INPUT: &str = "test_input_required_result_prompt";
const EXTRA: &str = "test_extra_prompt";
/// What `completion/complete` chooses from.
const COMPLETIONS: [&str; 6] = ["paris", "park", "party", "test", "testValue1", "testValue2"];

/// All prompts; with the extra one while it is switched on.
pub(super) fn list(with_extra: bool) -> ListPromptsResult {
    let required = |name: &str, description: &str| {
        PromptArgument::new(name).with_description(description).with_required(true)
    };
    let mut prompts = vec![
        Prompt::new(SIMPLE, Some("A prompt without arguments"), None),
        Prompt::new(
            WITH_ARGUMENTS,
            Some("A prompt that repeats its two arguments"),
            Some(vec![required("arg1", "First test argument"), required("arg2", "Second test argument")]),
        ),
        Prompt::new(
            WITH_RESOURCE,
            Some("A prompt that embeds the given resource"),
            Some(vec![required("resourceUri", "URI of the resource to embed")]),
        ),
        Prompt::new(WITH_IMAGE, Some("A prompt that shows an image"), None),
        Prompt::new(
            WITH_INPUT,
            Some("A prompt that first asks its user for context (2026-07-28 and newer)"),
            None,
        ),
    ];
    if with_extra {
        prompts.push(Prompt::new(EXTRA, Some("Comes and goes with test_trigger_prompt_change"), None));
    }
    ListPromptsResult::with_all_items(prompts).with_ttl_ms(0).with_cache_scope(CacheScope::Public)
}

/// The messages of a prompt, or what it must know first.
///
/// # Errors
/// Invalid parameters: an unknown prompt, a missing argument, or input that does not fit.
pub(super) fn get(
    node: &Node,
    request: &GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let messages = match request.name.as_str() {
        SIMPLE => vec![user_text("This is a simple prompt for testing.")],
        WITH_ARGUMENTS => {
            let (first, second) = (argument(request, "arg1")?, argument(request, "arg2")?);
            vec![user_text(format!("Prompt with arguments: arg1='{first}', arg2='{second}'"))]
        }
        WITH_RESOURCE => {
            let contents = ResourceContents::text(
                "Embedded resource content for testing.",
                argument(request, "resourceUri")?,
            );
            vec![
                PromptMessage::new(Role::User, ContentBlock::resource(contents)),
                user_text("Please process the embedded resource above."),
            ]
        }
        WITH_IMAGE => vec![
            PromptMessage::new(Role::User, ContentBlock::image(PNG_BASE64, "image/png")),
            user_text("Please analyze the image above."),
        ],
        WITH_INPUT => {
            let round = Round::of_prompt(node, request, context);
            let ask = Ask::form("user_context", "What context should the prompt use?", "context");
            match round.text_of(&ask)? {
                Some(answer) => vec![user_text(format!("Use this context: {answer}"))],
                None => return Ok(round.ask(&[ask], None)?.into()),
            }
        }
        EXTRA if node.shared.changes.has_extra_prompt() => vec![user_text("This prompt comes and goes.")],
        unknown => return Err(ErrorData::invalid_params(format!("unknown prompt: {unknown}"), None)),
    };
    Ok(GetPromptResult::new(messages).into())
}

/// Values that begin with what was typed so far.
///
/// # Errors
/// Invalid parameters for a prompt that does not exist.
pub(super) fn complete(request: &CompleteRequestParams) -> Result<CompleteResult, ErrorData> {
    if let Reference::Prompt(prompt) = &request.r#ref
        && !list(true).prompts.iter().any(|known| known.name == prompt.name)
    {
        return Err(ErrorData::invalid_params(format!("unknown prompt: {}", prompt.name), None));
    }
    let values = COMPLETIONS
        .iter()
        .filter(|value| value.starts_with(&request.argument.value))
        .map(ToString::to_string)
        .collect();
    let completion =
        CompletionInfo::with_all_values(values).map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(completion))
}

fn user_text(text: impl Into<String>) -> PromptMessage {
    PromptMessage::new_text(Role::User, text)
}

fn argument<'a>(request: &'a GetPromptRequestParams, name: &str) -> Result<&'a str, ErrorData> {
    request
        .arguments
        .as_ref()
        .and_then(|arguments| arguments.get(name))
        .and_then(|value| value.as_str())
        .ok_or_else(|| {
            ErrorData::invalid_params(
                format!("prompt {}: argument {name} is missing or no string", request.name),
                None,
            )
        })
}

#[cfg(test)]
mod tests {
    use rmcp::model::ArgumentInfo;

    use super::*;

    #[test]
    fn completion_filters_by_what_was_typed() {
        let typed = |value: &str| {
            complete(&CompleteRequestParams::new(
                Reference::for_prompt(WITH_ARGUMENTS),
                ArgumentInfo::new("arg1", value),
            ))
            .unwrap()
            .completion
        };
        assert_eq!(typed("par").values, ["paris", "park", "party"]);
        assert_eq!(typed("par").total, Some(3));
        assert!(typed("zzz").values.is_empty());
        let unknown =
            CompleteRequestParams::new(Reference::for_prompt("nothing"), ArgumentInfo::new("arg1", ""));
        assert!(complete(&unknown).is_err());
    }
}
