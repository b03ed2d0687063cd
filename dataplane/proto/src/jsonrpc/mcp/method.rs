//! Methods of MCP and the facts about them that a gateway acts on.

/// A known method; anything else is [`Method::Unknown`], so that labels stay few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is named after its method; `as_str` is the definition")]
pub enum Method {
    Initialize,
    Initialized,
    Ping,
    Cancelled,
    Progress,
    LogMessage,
    ToolsList,
    ToolsCall,
    ToolsListChanged,
    ResourcesList,
    ResourcesTemplatesList,
    ResourcesRead,
    ResourcesSubscribe,
    ResourcesUnsubscribe,
    ResourcesListChanged,
    ResourcesUpdated,
    PromptsList,
    PromptsGet,
    PromptsListChanged,
    CompletionComplete,
    LoggingSetLevel,
    RootsList,
    RootsListChanged,
    SamplingCreateMessage,
    ElicitationCreate,
    ElicitationComplete,
    TasksGet,
    TasksResult,
    TasksList,
    TasksCancel,
    TasksUpdate,
    TasksStatus,
    ServerDiscover,
    SubscriptionsListen,
    SubscriptionsAcknowledged,
    Unknown,
}

/// Which parameter the `Mcp-Name` header repeats (2026-07-28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// None: the header is not sent.
    None,
    /// `params.name`
    Name,
    /// `params.uri`
    Uri,
    /// `params.taskId` (tasks extension)
    TaskId,
}

impl Method {
    /// Every variant, [`Method::Unknown`] last.
    pub const ALL: [Self; 36] = [
        Self::Initialize,
        Self::Initialized,
        Self::Ping,
        Self::Cancelled,
        Self::Progress,
        Self::LogMessage,
        Self::ToolsList,
        Self::ToolsCall,
        Self::ToolsListChanged,
        Self::ResourcesList,
        Self::ResourcesTemplatesList,
        Self::ResourcesRead,
        Self::ResourcesSubscribe,
        Self::ResourcesUnsubscribe,
        Self::ResourcesListChanged,
        Self::ResourcesUpdated,
        Self::PromptsList,
        Self::PromptsGet,
        Self::PromptsListChanged,
        Self::CompletionComplete,
        Self::LoggingSetLevel,
        Self::RootsList,
        Self::RootsListChanged,
        Self::SamplingCreateMessage,
        Self::ElicitationCreate,
        Self::ElicitationComplete,
        Self::TasksGet,
        Self::TasksResult,
        Self::TasksList,
        Self::TasksCancel,
        Self::TasksUpdate,
        Self::TasksStatus,
        Self::ServerDiscover,
        Self::SubscriptionsListen,
        Self::SubscriptionsAcknowledged,
        Self::Unknown,
    ];

    /// The method that this exact text names.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Self {
        Self::ALL.into_iter().find(|method| method.as_str().as_bytes() == text).unwrap_or(Self::Unknown)
    }

    /// As written in messages; empty for [`Method::Unknown`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Initialized => "notifications/initialized",
            Self::Ping => "ping",
            Self::Cancelled => "notifications/cancelled",
            Self::Progress => "notifications/progress",
            Self::LogMessage => "notifications/message",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::ToolsListChanged => "notifications/tools/list_changed",
            Self::ResourcesList => "resources/list",
            Self::ResourcesTemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::ResourcesListChanged => "notifications/resources/list_changed",
            Self::ResourcesUpdated => "notifications/resources/updated",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::PromptsListChanged => "notifications/prompts/list_changed",
            Self::CompletionComplete => "completion/complete",
            Self::LoggingSetLevel => "logging/setLevel",
            Self::RootsList => "roots/list",
            Self::RootsListChanged => "notifications/roots/list_changed",
            Self::SamplingCreateMessage => "sampling/createMessage",
            Self::ElicitationCreate => "elicitation/create",
            Self::ElicitationComplete => "notifications/elicitation/complete",
            Self::TasksGet => "tasks/get",
            Self::TasksResult => "tasks/result",
            Self::TasksList => "tasks/list",
            Self::TasksCancel => "tasks/cancel",
            Self::TasksUpdate => "tasks/update",
            Self::TasksStatus => "notifications/tasks/status",
            Self::ServerDiscover => "server/discover",
            Self::SubscriptionsListen => "subscriptions/listen",
            Self::SubscriptionsAcknowledged => "notifications/subscriptions/acknowledged",
            Self::Unknown => "",
        }
    }

    /// Its place in [`Method::ALL`], for arrays of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Text of bounded cardinality, fit for a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "other",
            known => known.as_str(),
        }
    }

    /// Which parameter `Mcp-Name` repeats.
    #[must_use]
    pub const fn mirror(self) -> Mirror {
        match self {
            Self::ToolsCall | Self::PromptsGet => Mirror::Name,
            Self::ResourcesRead => Mirror::Uri,
            Self::TasksGet | Self::TasksUpdate | Self::TasksCancel => Mirror::TaskId,
            _ => Mirror::None,
        }
    }

    /// Its result may carry cache hints (2026-07-28, server/utilities/caching).
    #[must_use]
    pub const fn is_cacheable(self) -> bool {
        matches!(
            self,
            Self::ServerDiscover
                | Self::ToolsList
                | Self::PromptsList
                | Self::ResourcesList
                | Self::ResourcesTemplatesList
                | Self::ResourcesRead
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_one_to_one() {
        let labels: std::collections::BTreeSet<_> = Method::ALL.iter().map(|method| method.label()).collect();
        assert_eq!(labels.len(), Method::ALL.len());
        for (index, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!(method.index(), index);
            assert_eq!(Method::from_bytes(method.as_str().as_bytes()), method);
        }
        for text in [b"Tools/Call".as_slice(), b"tools/call ", b"x", b"other"] {
            assert_eq!(Method::from_bytes(text), Method::Unknown);
        }
    }
}
