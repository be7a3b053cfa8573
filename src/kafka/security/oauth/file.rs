//! A token in a file: `sasl.oauthbearer.token.endpoint.url=file:///...`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use zeroize::Zeroizing;

use super::{Token, TokenSource};
use crate::kafka::Error;
use crate::supervise;

/// A token is a few thousand bytes; a file larger than this holds something else.
const MAX_FILE: u64 = 256 << 10;
/// How long reading it may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the file anew for every token.
pub(crate) struct FileToken {
    path: PathBuf,
}

impl FileToken {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    async fn read(&self) -> Result<Token, Error> {
        let path = self.path.clone();
        let read = move || {
            let size = std::fs::metadata(&path).map_err(|e| e.to_string())?.len();
            if size > MAX_FILE {
                return Err(format!("{size} bytes is no token"));
            }
            std::fs::read_to_string(&path).map(Zeroizing::new).map_err(|e| e.to_string())
        };
        let found = match supervise::blocking("reading a token", READ_TIMEOUT, read).await {
            Ok(found) => found.and_then(|text| Token::jwt(&text, SystemTime::now())),
            Err(error) => Err(error.to_string()),
        };
        // Whoever renews the file may be about to: all of this may pass.
        found.map_err(|message| Error::Credentials {
            mechanism: "OAUTHBEARER",
            origin: self.path.display().to_string(),
            message,
            hint: Some(
                "the file that sasl.oauthbearer.token.endpoint.url names must hold one JWT, readable by us".into(),
            ),
            retriable: true,
        })
    }
}

impl TokenSource for FileToken {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, Error>> {
        Box::pin(self.read())
    }
}
