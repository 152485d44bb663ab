//! A second reader of requests, which shares nothing with the proxy's own: the lines are httparse's, where
//! a body ends is decided here, in the strictest reading of RFC 9112.

/// The most fields of a head.
const FIELDS: usize = 256;

/// A whole request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub method: String,
    pub target: Vec<u8>,
    /// 0 or 1, of HTTP/1.
    pub minor: u8,
    /// Names in lower case.
    pub fields: Vec<Field>,
    pub body: Vec<u8>,
    pub trailers: Vec<Field>,
}

/// Name and value.
pub type Field = (String, Vec<u8>);

/// What bytes begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A request of so many bytes.
    Whole(Box<Message>, usize),
    /// The beginning of one, or nothing.
    Partial,
    /// Nothing that could become one.
    Bad(&'static str),
}

impl Message {
    /// The values of a field, in their order.
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|field| field.0 == name).map(|field| &field.1[..]).collect()
    }

    /// How many lines say where the body ends.
    pub fn framings(&self) -> usize {
        self.values("content-length").len() + self.values("transfer-encoding").len()
    }
}

/// All whole requests that bytes begin with, and what comes then: never a whole one.
pub fn requests(mut bytes: &[u8]) -> (Vec<Message>, Read) {
    let mut all = Vec::new();
    loop {
        match request(bytes) {
            Read::Whole(message, length) => {
                all.push(*message);
                bytes = &bytes[length..];
            }
            rest => return (all, rest),
        }
    }
}

/// The first request.
pub fn request(bytes: &[u8]) -> Read {
    // RFC 9112 §2.2: empty lines before a request may be ignored.
    let start = bytes.chunks(2).take_while(|two| two == b"\r\n").count() * 2;
    let Some(end) = bytes[start..].windows(4).position(|four| four == b"\r\n\r\n") else {
        return Read::Partial;
    };
    let (head, rest) = bytes[start..].split_at(end + 4);
    let mut message = match read_head(head) {
        Ok(message) => message,
        Err(why) => return Read::Bad(why),
    };
    let body = match framing(&message) {
        Ok(None) => Ok(Some(0)),
        Ok(Some(Body::Length(length))) if rest.len() < length => Ok(None),
        Ok(Some(Body::Length(length))) => {
            message.body = rest[..length].to_vec();
            Ok(Some(length))
        }
        Ok(Some(Body::Chunked)) => chunks(rest, &mut message),
        Err(why) => Err(why),
    };
    match body {
        Ok(Some(length)) => Read::Whole(Box::new(message), start + end + 4 + length),
        Ok(None) => Read::Partial,
        Err(why) => Read::Bad(why),
    }
}

fn read_head(head: &[u8]) -> Result<Message, &'static str> {
    if !lines_end_well(head) {
        return Err("a line end that is not CRLF");
    }
    let (message, length) = lines(head)?;
    if length != head.len() {
        return Err("an end before the end");
    }
    let hosts = message.values("host").len();
    if hosts > 1 || hosts == 0 && message.minor == 1 {
        return Err("not one host");
    }
    Ok(message)
}

/// A head as httparse has it, lenient with line ends, and how long it is.
///
/// # Errors
/// There is none, or not all of one.
pub fn lines(head: &[u8]) -> Result<(Message, usize), &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = request.parse(head) else { return Err("no head") };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err("no request line");
    };
    let message = Message {
        method: method.to_owned(),
        target: target.as_bytes().to_vec(),
        minor,
        fields: owned(request.headers),
        ..Message::default()
    };
    Ok((message, length))
}

fn lines_end_well(lines: &[u8]) -> bool {
    let crs = lines.iter().filter(|&&b| b == b'\r').count();
    let lfs = lines.iter().filter(|&&b| b == b'\n').count();
    let both = lines.windows(2).filter(|two| two == b"\r\n").count();
    crs == both && lfs == both
}

fn owned(fields: &[httparse::Header<'_>]) -> Vec<Field> {
    let value = |value: &[u8]| {
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
        let end = value.iter().rposition(|b| !blank(b)).map_or(start, |at| at + 1);
        value[start..end].to_vec()
    };
    fields.iter().map(|field| (field.name.to_ascii_lowercase(), value(field.value))).collect()
}

enum Body {
    Length(usize),
    Chunked,
}

fn framing(message: &Message) -> Result<Option<Body>, &'static str> {
    match (&message.values("content-length")[..], &message.values("transfer-encoding")[..]) {
        ([], []) => Ok(None),
        ([length], []) => {
            let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length =
                std::str::from_utf8(length).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            length.map(|length| Some(Body::Length(length))).ok_or("a length that is none")
        }
        ([], [coding]) if message.minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Some(Body::Chunked))
        }
        _ => Err("framing that two could read in two ways"),
    }
}

/// Reads chunks and trailers. How long they are; nothing if they are not whole.
fn chunks(bytes: &[u8], message: &mut Message) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = size(&rest[..end])?;
        at += end + 2;
        if size == 0 {
            break;
        }
        let Some(data) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk that is longer than it says");
        }
        message.body.extend_from_slice(&data[..size]);
        at += size + 2;
    }
    let rest = &bytes[at..];
    if rest.starts_with(b"\r\n") {
        return Ok(Some(at + 2));
    }
    let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let section = &rest[..end + 4];
    let mut headers = [httparse::EMPTY_HEADER; FIELDS];
    match httparse::parse_headers(section, &mut headers) {
        Ok(httparse::Status::Complete((length, trailers)))
            if length == section.len() && lines_end_well(section) =>
        {
            message.trailers = owned(trailers);
            Ok(Some(at + length))
        }
        _ => Err("trailers that are none"),
    }
}

/// The size of a chunk: up to 8 hexadecimal digits, then nothing or an extension.
fn size(line: &[u8]) -> Result<usize, &'static str> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let extension = extension.trim_ascii_start();
    if !extension.is_empty() && !extension.starts_with(b";")
        || extension.iter().any(|&b| b == b'\n' || b == b'\r')
    {
        return Err("a chunk size with something behind it");
    }
    let size = size.iter().skip_while(|&&b| b == b'0').copied().collect::<Vec<_>>();
    match (digits, &size[..]) {
        (0, _) => Err("a chunk without a size"),
        (_, []) => Ok(0),
        (_, size) if size.len() <= 8 => {
            usize::from_str_radix(std::str::from_utf8(size).unwrap_or("x"), 16).map_err(|_| "no size")
        }
        _ => Err("a chunk that nobody could send"),
    }
}
