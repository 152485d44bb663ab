//! `/explain`, of a file with one rule.

use super::{
    purge::{JSON, problem},
    *,
};

#[tokio::test]
async fn a_question_is_answered_with_all_members_that_are_described() {
    let rig = rig("127.0.0.1:0", None).await;
    let answer = rig.post_to("/explain", JSON, r#"{"url": "http://shop.example/a?b=1"}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = parsed(&answer);
    assert_eq!((&told["method"], &told["url"]), (&json!("GET"), &json!("http://shop.example/a?b=1")));
    assert_eq!(told["rule"]["cache"], "300s");
    assert_eq!(
        told["key"],
        json!({ "resource": "http://shop.example/a?b=1", "headers": [], "selected_by": [] })
    );
    assert_eq!(told["decision"]["outcome"], "uri-miss");
    let description = parsed(&rig.get("/openapi.json").await);
    let schemas = &description["components"]["schemas"];
    for (described, value) in [
        (&schemas["Explanation"], &told),
        (&schemas["Verdict"], &told["decision"]),
        (&schemas["Explanation"]["properties"]["rule"], &told["rule"]),
    ] {
        let mut required: Vec<&str> =
            described["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let mut members: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        required.sort_unstable();
        members.sort_unstable();
        assert_eq!(required, members);
    }
}

#[tokio::test]
async fn what_is_no_question_is_told() {
    let rig = rig("127.0.0.1:0", None).await;
    for (body, told) in [
        ("", "no JSON object"),
        (r#"{"url": "/products"}"#, "url: `/products` names no host"),
        (r#"{"url": "http://a/", "headers": [["a\n", "b"]]}"#, "headers: "),
    ] {
        let answer = rig.post_to("/explain", JSON, body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(problem(&answer).contains(told), "{}", answer.body);
    }
    let long = format!(r#"{{"url": "http://a/{}"}}"#, "b".repeat(65536));
    assert_eq!(rig.post_to("/explain", JSON, &long).await.status, 413);
    assert_eq!(rig.post_to("/explain", "", "{}").await.status, 415);
    assert_eq!(rig.get("/explain").await.status, 405);
}

#[tokio::test]
async fn it_takes_the_token_and_no_page_of_another_site() {
    let rig = rig("127.0.0.1:0", Some(SECRET)).await;
    let body = r#"{"url": "http://a/"}"#;
    assert_eq!(rig.post_to("/explain", JSON, body).await.status, 401);
    let with = format!("{JSON}Authorization: Bearer {SECRET}\r\n");
    assert_eq!(rig.post_to("/explain", &with, body).await.status, 200);
    let from = format!("{with}Origin: http://evil.example\r\n");
    assert_eq!(rig.post_to("/explain", &from, body).await.status, 403);
}
