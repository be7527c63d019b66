//! What a simulated server is told at its start.

use std::net::SocketAddr;
use std::time::Duration;

use crate::fault::Rule;

/// Everything that can be set. `Options::default()` is a quick generative server on a free port of loopback.
///
/// Names follow vLLM's own flags where it has one.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // They are vLLM's own switches, one for one.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `--served-model-name`: the names that are asked for. Answers carry the first, whichever was asked for.
    pub models: Vec<String>,
    /// Names of LoRA adapters, listed by `/v1/models` with the first model as their parent.
    pub adapters: Vec<String>,
    /// What kind of model it is, and so which routes exist.
    pub tasks: Tasks,
    /// `--max-model-len`: prompt and answer together, in tokens.
    pub max_model_len: usize,
    /// `--api-key`: with none, everybody may.
    pub api_keys: Vec<String>,
    /// How many tokens an answer has before it ends by itself, the end token included (unless `ignore_eos` or
    /// `min_tokens` say otherwise).
    pub tokens: usize,
    /// What to answer, instead of words drawn by seed and prompt.
    pub text: Option<String>,
    /// The seed of requests that bring none.
    pub seed: u64,
    /// How many tokens come in one event; vLLM under load sends several.
    pub tokens_per_event: usize,
    /// `--reasoning-parser`: how many tokens of each answer are reasoning. `None` is no parser.
    pub reasoning_tokens: Option<usize>,
    /// `--enable-auto-tool-choice`.
    pub auto_tools: AutoTools,
    /// Whether images and audio in messages are taken; a text model refuses them.
    pub multimodal: bool,
    /// How fast tokens come.
    pub speed: Speed,
    /// What each token of a prompt costs that is not in the prefix cache, before [`Speed::ttft`] begins. Prompts are
    /// computed one after another; zero computes all at once.
    pub prefill: Duration,
    /// `--block-size`: how many tokens the prefix cache keeps and finds together.
    pub block_size: usize,
    /// `--num-gpu-blocks-override`: how many blocks the KV cache has, for what runs and for what is kept of what ran.
    /// `None` is as many as every seat may need.
    pub num_gpu_blocks: Option<usize>,
    /// `--max-num-seqs`: how many sequences run at once; further ones wait.
    pub max_num_seqs: usize,
    /// `--max-num-queued-reqs`: with this many requests running **or** waiting, the next gets 503 (b16).
    pub max_num_queued_reqs: Option<usize>,
    /// `--sse-keep-alive-interval`: comments while a stream has nothing to send.
    pub sse_keep_alive_interval: Option<Duration>,
    /// How long an idle connection is kept (`VLLM_HTTP_TIMEOUT_KEEP_ALIVE`).
    pub keep_alive: Duration,
    /// `--enable-force-include-usage`: every stream carries usage, in every event.
    pub force_include_usage: bool,
    /// `--enable-prompt-tokens-details`: usage tells what was in the prefix cache.
    pub prompt_tokens_details: bool,
    /// `--enable-request-id-headers`: `x-request-id` on every answer.
    pub request_id_headers: bool,
    /// `--enable-server-load-tracking`: `/load` counts.
    pub load_tracking: bool,
    /// `--enable-per-request-metrics`: `metrics` in answers.
    pub per_request_metrics: bool,
    /// `VLLM_SERVER_DEV_MODE`: `/sleep`, `/wake_up`, `/pause`, `/resume`, `/reset_prefix_cache` and their like.
    pub dev_mode: bool,
    /// `VLLM_ENABLE_RESPONSES_API_STORE`: responses are kept, and can be asked for again. Those in the background wait for
    /// ever.
    pub response_store: bool,
    /// `--allowed-origins`.
    pub allowed_origins: Vec<String>,
    /// How long an embedding is.
    pub embedding_size: usize,
    /// The version that `/version` and fingerprints name.
    pub version: String,
    /// Faults from the start on.
    pub faults: Vec<Rule>,
    /// Whether a request may bring its own faults in a header `x-simulate: reset-after=3; split=5`.
    ///
    /// A gateway must not pass on headers it does not know, so behind one this header does not arrive: tests
    /// script the handle instead ([`Simulator::inject`](crate::Simulator::inject)).
    pub faults_by_header: bool,
    /// How many of the last requests are kept to be looked at; 0 keeps none (for benchmarks).
    pub keep_requests: usize,
    /// How many of the last generations the ledger keeps; 0 keeps none.
    pub keep_generations: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            models: vec!["Qwen3-32B".to_owned()],
            adapters: Vec::new(),
            tasks: Tasks::GENERATE,
            max_model_len: 32_768,
            api_keys: Vec::new(),
            tokens: 64,
            text: None,
            seed: 0,
            tokens_per_event: 1,
            reasoning_tokens: None,
            auto_tools: AutoTools::Text,
            multimodal: false,
            speed: Speed::default(),
            prefill: Duration::ZERO,
            // That of the recorded machine; a GPU's is 16.
            block_size: 128,
            num_gpu_blocks: None,
            max_num_seqs: 1024,
            max_num_queued_reqs: None,
            sse_keep_alive_interval: None,
            keep_alive: Duration::from_secs(5),
            force_include_usage: false,
            prompt_tokens_details: false,
            request_id_headers: false,
            load_tracking: false,
            per_request_metrics: false,
            dev_mode: false,
            response_store: false,
            allowed_origins: Vec::new(),
            embedding_size: 64,
            version: "0.32.0".to_owned(),
            faults: Vec::new(),
            faults_by_header: false,
            keep_requests: 1024,
            keep_generations: 65_536,
        }
    }
}

/// How fast tokens come. All zero is as fast as possible.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Speed {
    /// From being scheduled to the first token.
    pub ttft: Duration,
    /// From one token to the next (inter-token latency).
    pub itl: Duration,
    /// How much a single gap may differ from `itl`, as a part of it: 0.2 is up to 20 % more or less.
    pub jitter: f64,
}

/// Which kinds of work the model does. A real server does one of them; a test may want all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // A set of four.
pub struct Tasks {
    /// Chat, completions, responses, messages.
    pub generate: bool,
    /// Embeddings, pooling, score and rerank.
    pub embed: bool,
    /// `/classify`.
    pub classify: bool,
    /// Transcriptions and translations.
    pub transcribe: bool,
}

impl Tasks {
    /// A generative model.
    pub const GENERATE: Self = Self { generate: true, embed: false, classify: false, transcribe: false };
    /// An embedding model.
    pub const EMBED: Self = Self { generate: false, embed: true, classify: false, transcribe: false };
    /// A classifier.
    pub const CLASSIFY: Self = Self { generate: false, embed: false, classify: true, transcribe: false };
    /// A speech model.
    pub const TRANSCRIBE: Self = Self { generate: false, embed: false, classify: false, transcribe: true };
    /// Everything at once.
    pub const ALL: Self = Self { generate: true, embed: true, classify: true, transcribe: true };
}

/// What happens with tools when the model may choose (`tool_choice: auto`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoTools {
    /// 400: the server was started without `--enable-auto-tool-choice` (b06).
    Refused,
    /// The model answers in text and calls none (a08).
    Text,
    /// The model calls the first tool.
    Call,
}
