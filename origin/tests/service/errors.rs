//! Every refusal: its status and what its body says.

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{get, request, send};
use crate::running::Start;

const JSON: &str = "Content-Type: application/json\r\n";

fn draft(name: &str) -> Value {
    json!({ "name": name, "description": "", "price": "1.00" })
}

#[tokio::test]
async fn malformed_json_is_400() {
    let origin = Start::default().anew().await;
    for (line, body) in
        [("POST /products", "{\"name\":"), ("PUT /products/1", "name=Bell"), ("POST /products", "")]
    {
        let reply = request(origin.address, line, JSON, body).await;
        assert_eq!(reply.status, 400, "{line} {body}");
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("JSON") && error.contains("line 1 column"), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let origin = Start::default().anew().await;
    for path in ["/", "/product", "/products/", "/products/1/2", "/products/%ff"] {
        let reply = get(origin.address, path).await;
        assert_eq!(
            (reply.status, reply.json()),
            (404, json!({ "error": "there is nothing at this path" })),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_unknown_product_is_404() {
    let origin = Start::default().anew().await;
    for id in ["0", "11", "-1", "01", "+1", "one", "99999999999999999999"] {
        let path = format!("/products/{id}");
        let expected = (404, json!({ "error": format!("there is no product {id}") }));
        let got = get(origin.address, &path).await;
        let put = send(origin.address, &format!("PUT {path}"), &draft("Bell")).await;
        let deleted = request(origin.address, &format!("DELETE {path}"), "", "").await;
        for reply in [got, put, deleted] {
            assert_eq!((reply.status, reply.json()), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_with_those_allowed() {
    let origin = Start::default().anew().await;
    for (line, allowed) in [
        ("DELETE /products", "GET,HEAD,POST"),
        ("POST /cached_products", "GET,HEAD"),
        ("PATCH /products/1", "GET,HEAD,PUT,DELETE"),
        ("POST /healthz", "GET,HEAD"),
    ] {
        let reply = request(origin.address, line, "", "").await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allowed)), "{line}");
        let error = "this path does not have that method; the Allow header lists those it has";
        assert_eq!(reply.json(), json!({ "error": error }));
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_409() {
    let origin = Start::default().anew().await;
    let taken = get(origin.address, "/products/2").await.json()["name"].clone();
    let expected = (409, json!({ "error": "another product has this name" }));
    for line in ["POST /products", "PUT /products/1"] {
        let reply = send(origin.address, line, &draft(taken.as_str().unwrap())).await;
        assert_eq!((reply.status, reply.json()), expected, "{line}");
    }
    assert_eq!(send(origin.address, "PUT /products/2", &draft(taken.as_str().unwrap())).await.status, 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let origin = Start::default().anew().await;
    let empty = json!({ "name": "Bell", "price": "1", "description": "" }).to_string();
    let body = |length: usize| empty.replace("\"\"", &format!("\"{}\"", "x".repeat(length - empty.len())));
    // One byte more is too large; the largest that is read is refused for what it says.
    for (length, status) in [(origin::api::BODY_LIMIT, 422), (origin::api::BODY_LIMIT + 1, 413)] {
        let reply = request(origin.address, "POST /products", JSON, &body(length)).await;
        assert_eq!(reply.status, status);
        let error = if status == 413 { "the body is too large" } else { "the product is not valid" };
        assert_eq!(reply.json()["error"], error);
    }
}

#[tokio::test]
async fn another_content_type_is_415() {
    let origin = Start::default().anew().await;
    let body = draft("Bell").to_string();
    for head in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        let reply = request(origin.address, "POST /products", head, &body).await;
        let expected = (415, json!({ "error": "the body must be sent as application/json" }));
        assert_eq!((reply.status, reply.json()), expected, "{head}");
    }
    let head = "Content-Type: application/json; charset=utf-8\r\n";
    assert_eq!(request(origin.address, "POST /products", head, &body).await.status, 201);
}

#[tokio::test]
async fn an_invalid_product_is_422_and_each_field_is_named() {
    let origin = Start::default().anew().await;
    let wrong = json!({ "name": "x".repeat(101), "description": 1, "price": "-1", "colour": "red" });
    for line in ["POST /products", "PUT /products/1"] {
        let reply = send(origin.address, line, &wrong).await;
        assert_eq!(reply.status, 422, "{line}");
        assert_eq!(
            reply.json(),
            json!({
                "error": "the product is not valid",
                "fields": {
                    "colour": "is not a field of a product",
                    "description": "must be a string",
                    "name": "must be at most 100 characters, not 101",
                    "price": "must be a decimal of at most 7 digits and two decimals, such as \"12.50\"",
                }
            })
        );
    }
    let reply = send(origin.address, "POST /products", &json!(["Bell"])).await;
    let error = "the body must be a JSON object with name, description and price";
    assert_eq!((reply.status, reply.json()), (422, json!({ "error": error })));
}

#[tokio::test]
async fn a_database_that_fails_is_500_and_the_service_not_well() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("products.db");
    let origin = Start::default().with(&file).await;
    assert_eq!(get(origin.address, "/products").await.status, 200);
    Connection::open(&file).unwrap().execute_batch("DROP TABLE products").unwrap();

    let list = get(origin.address, "/products").await;
    assert_eq!((list.status, list.json()), (500, json!({ "error": "the database failed" })));
    let health = get(origin.address, "/healthz").await;
    assert_eq!((health.status, health.json()), (503, json!({ "error": "the database does not answer" })));
}
