//! A Worker in Rust that counts under a lock, on Redis nodes behind proxies that speak as Upstash does.
//!
//! `POST /count/NAME` reads a number, adds one and writes it back, which is only right if nobody else does
//! so at the same time. The lock sees to that, over as many nodes as the variable `NODES` lists.

use std::rc::Rc;
use std::time::Duration;

use redlatch_wasm::{Failure, Instant, Redlatch, Transport, Value};
use worker::{
    Context, Date, Delay, Env, Fetch, Headers, Method, Request, RequestInit, RequestRedirect,
    Response, Result, event,
};

/// Longer than a request that behaves takes, so that nothing needs to be renewed.
const TTL: Duration = Duration::from_secs(10);

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    let path = request.path();
    let Some(name) = path.strip_prefix("/count/") else { return Response::error("not found", 404) };
    let proxies = Rc::new(Proxies {
        urls: env.var("NODES")?.to_string().split(',').map(str::to_owned).collect(),
        token: env.secret("TOKEN")?.to_string(),
        context,
    });
    match count(&proxies, name).await {
        Ok(count) => Response::ok(count.to_string()),
        // Who wants to try again may do so.
        Err(error) => Response::error(error.to_string(), 409),
    }
}

async fn count(proxies: &Rc<Proxies>, name: &str) -> Result<i64, Box<dyn std::error::Error>> {
    let redlatch = Redlatch::new(Edge(proxies.clone()), proxies.urls.len())?;
    let guard = redlatch.acquire(&[&format!("lock:{name}")], TTL).await?;
    let key = format!("count:{name}");
    let count = match proxies.ask(0, &["GET", &key]).await? {
        Value::Text(text) => text.parse()?,
        _ => 0,
    } + 1;
    // A store that knows fences would be given guard.fence() here, and refuse an older one.
    if !guard.is_valid() {
        return Err("the lock was lost".into());
    }
    proxies.ask(0, &["SET", &key, &count.to_string()]).await?;
    guard.release().await?;
    Ok(count)
}

/// The proxies in front of the nodes.
struct Proxies {
    urls: Vec<String>,
    token: String,
    context: Context,
}

impl Proxies {
    async fn ask(&self, node: usize, args: &[&str]) -> Result<Value, Failure> {
        let url = self.urls.get(node).ok_or_else(|| Failure::new("there is no such node"))?;
        self.post(url, args).await.map_err(|error| Failure::new(error.to_string()))?
    }

    /// `POST` of the arguments as a JSON array. Whatever is not exactly an answer is a failure; nothing is
    /// tried again, and no redirect followed.
    async fn post(&self, url: &str, args: &[&str]) -> Result<Result<Value, Failure>> {
        let headers = Headers::new();
        headers.set("authorization", &format!("Bearer {}", self.token))?;
        headers.set("content-type", "application/json")?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post)
            .with_headers(headers)
            .with_redirect(RequestRedirect::Manual)
            .with_body(Some(serde_json::to_string(args)?.into()));
        let mut response = Fetch::Request(Request::new_with_init(url, &init)?).send().await?;
        let status = response.status_code();
        // The body is read in any case: one that is not keeps its connection.
        let body = response.text().await?;
        let mut answer: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let result = answer.get_mut("result").map(serde_json::Value::take);
        Ok(match (status, result, answer.get("error")) {
            (200, Some(result), _) => Ok(value(result)),
            (_, None, Some(serde_json::Value::String(error))) => Ok(Value::Error(error.clone())),
            _ => Err(Failure::new(format!("an answer of status {status} that is none"))),
        })
    }
}

fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Number(number) => number.as_i64().map_or_else(odd, Value::Int),
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        serde_json::Value::Bool(_) | serde_json::Value::Object(_) => odd(),
    }
}

/// A value that is no answer to any command.
fn odd() -> Value {
    Value::Error("no value of Redis".to_owned())
}

/// What the lock needs of a Worker.
struct Edge(Rc<Proxies>);

impl Transport for Edge {
    fn send(
        &self,
        node: usize,
        args: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<Value, Failure>> + 'static {
        let proxies = self.0.clone();
        async move {
            let args: Result<Vec<_>, _> = args.iter().map(|arg| str::from_utf8(arg)).collect();
            let args = args.map_err(|error| Failure::new(error.to_string()))?;
            proxies.ask(node, &args).await
        }
    }

    async fn sleep(&self, duration: Duration) {
        Delay::from(duration).await;
    }

    /// Workers have one clock, which stands still between one I/O and the next. It is slow then, which
    /// shortens a lease whose command is being sent; whoever computes for long without I/O should let one
    /// happen before trusting `is_valid`.
    fn now(&self) -> Instant {
        Instant::ZERO.saturating_add(self.unix_time())
    }

    fn unix_time(&self) -> Duration {
        Duration::from_millis(Date::now().as_millis())
    }

    fn random(&self) -> Result<[u8; 16], Failure> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| Failure::new(error.to_string()))?;
        Ok(bytes)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.context.wait_until(task);
    }
}
