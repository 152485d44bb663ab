//! Users of a Redis, who may do what the guide says that a sidecar needs, or less.

use super::redis::RedisServer;

const GUIDE: &str = include_str!("../../../docs/redis.md");
const NAME: &str = "app";
const PASSWORD: &str = "pw";

/// What a user may do.
#[derive(Clone, Debug)]
pub struct Rights(Vec<&'static str>);

impl Rights {
    /// All that is documented.
    pub fn documented() -> Self {
        Self::between("ACL SETUSER sidecache ", "\n")
    }

    /// As much of it as is documented for one who only reads.
    pub fn reading() -> Self {
        Self::between("One who may only `", "`")
    }

    fn between(from: &str, to: &str) -> Self {
        let (_, rest) = GUIDE.split_once(from).expect("it is documented");
        let (line, _) = rest.split_once(to).expect("its end");
        Self(line.split(' ').filter(|word| word.starts_with('+')).collect())
    }

    /// As words of `ACL SETUSER`.
    pub fn words(&self) -> &[&'static str] {
        &self.0
    }

    pub fn with(mut self, word: &'static str) -> Self {
        self.0.push(word);
        self
    }

    pub fn without(mut self, word: &str) -> Self {
        let before = self.0.len();
        self.0.retain(|other| *other != word);
        assert_eq!(self.0.len() + 1, before, "{word} is documented, once");
        self
    }

    /// Creates a user with these rights to the keys of the prefix `test`; gives the URL for that user.
    pub fn granted(&self, server: &RedisServer) -> String {
        self.granted_for(server, &["test:*"])
    }

    /// The same, with rights to keys of these patterns.
    pub fn granted_for(&self, server: &RedisServer, patterns: &[&str]) -> String {
        let password = format!(">{PASSWORD}");
        let keys: Vec<String> = patterns.iter().map(|pattern| format!("~{pattern}")).collect();
        let mut words = vec!["ACL", "SETUSER", NAME, "on", &password];
        words.extend(keys.iter().map(String::as_str));
        words.extend(&self.0);
        server.command(&words);
        server.url_as(NAME, PASSWORD)
    }
}
