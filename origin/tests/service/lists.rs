//! The two lists.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{get, request, send};
use crate::running::Start;

const LISTS: [&str; 2] = ["/products", "/cached_products"];

#[tokio::test]
async fn both_lists_are_the_same_and_say_nothing_about_caching() {
    let origin = Start { products: 1_000, ..Start::default() }.anew().await;
    let [plain, cached] = [get(origin.address, LISTS[0]).await, get(origin.address, LISTS[1]).await];
    assert_eq!((plain.status, cached.status), (200, 200));
    assert_eq!(plain.body, cached.body);
    assert_eq!(plain.json().as_array().unwrap().len(), 1_000);
    for reply in [plain, cached] {
        let mut names: Vec<&str> = reply.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["connection", "content-length", "content-type", "date"]);
    }
}

#[tokio::test]
async fn a_product_has_six_fields() {
    let origin = Start::default().anew().await;
    let first = &get(origin.address, "/products").await.json()[0];
    assert_eq!(
        *first,
        json!({
            "id": 1,
            "name": "Classic Stoneware Mug",
            "description": "This stoneware mug holds a third of a litre and keeps it warm. \
                            The Classic is the one that was always there.",
            "price": "14.50",
            "date_created": "2024-01-08T09:00:00.000Z",
            "date_modified": "2024-01-08T09:00:00.000Z",
        })
    );
}

#[tokio::test]
async fn each_list_is_queried_anew() {
    let origin = Start { products: 0, ..Start::default() }.anew().await;
    for (count, path) in LISTS.iter().cycle().take(4).enumerate() {
        assert_eq!(get(origin.address, path).await.json().as_array().unwrap().len(), count);
        let product = json!({ "name": format!("Product {count}"), "description": "", "price": "1" });
        assert_eq!(send(origin.address, "POST /products", &product).await.status, 201);
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let origin = Start::default().anew().await;
    let full = get(origin.address, "/products").await;
    let head = request(origin.address, "HEAD /products", "", "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), full.header("content-length"));
}

#[tokio::test]
async fn only_the_lists_are_delayed() {
    let delay = Duration::from_millis(200);
    let origin = Start { delay, ..Start::default() }.anew().await;
    for path in LISTS {
        let start = Instant::now();
        assert_eq!(get(origin.address, path).await.status, 200);
        assert!(start.elapsed() >= delay, "{path} was too fast");
    }
    let origin = Start { delay: Duration::from_secs(3_600), ..Start::default() }.anew().await;
    assert_eq!(get(origin.address, "/products/1").await.status, 200);
}

#[tokio::test]
async fn many_clients_read_at_once() {
    const CLIENTS: u32 = 100;
    let delay = Duration::from_millis(200);
    let origin = Start { delay, ..Start::default() }.anew().await;
    let address = origin.address;
    let start = Instant::now();
    let mut clients: JoinSet<_> =
        (0..CLIENTS).map(|_| async move { get(address, "/products").await }).collect();
    let first = clients.join_next().await.unwrap().unwrap();
    assert_eq!(first.status, 200);
    while let Some(reply) = clients.join_next().await {
        assert_eq!(reply.unwrap().body, first.body);
    }
    assert!(start.elapsed() < delay * CLIENTS / 2, "they waited for each other");
}
