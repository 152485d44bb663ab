//! Creating, reading, replacing and deleting products.

use serde_json::json;

use crate::client::{get, request, send};
use crate::running::Start;

#[tokio::test]
async fn a_created_product_can_be_read_where_location_says() {
    let origin = Start::default().anew().await;
    let draft = json!({ "name": "Brass Bell", "description": "Rings.", "price": "12.5" });
    let created = send(origin.address, "POST /products", &draft).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.header("location"), Some("/products/11"));
    let product = created.json();
    assert_eq!(
        (&product["id"], &product["name"], &product["description"], &product["price"]),
        (&json!(11), &json!("Brass Bell"), &json!("Rings."), &json!("12.50"))
    );
    assert_eq!(product["date_created"], product["date_modified"]);

    let read = get(origin.address, "/products/11").await;
    assert_eq!((read.status, read.json()), (200, product));
}

#[tokio::test]
async fn timestamps_are_rfc_3339_in_utc() {
    let origin = Start { products: 0, ..Start::default() }.anew().await;
    let draft = json!({ "name": "Brass Bell", "description": "", "price": "1" });
    let product = send(origin.address, "POST /products", &draft).await.json();
    let shape = |text: &str| text.replace(|byte: char| byte.is_ascii_digit(), "0");
    assert_eq!(shape(product["date_created"].as_str().unwrap()), "0000-00-00T00:00:00.000Z");
}

#[tokio::test]
async fn a_product_is_replaced_as_a_whole() {
    let origin = Start::default().anew().await;
    let before = get(origin.address, "/products/3").await.json();
    let draft = json!({ "name": "Tin Bell", "description": "Rattles.", "price": "0.99" });
    let replaced = send(origin.address, "PUT /products/3", &draft).await;
    assert_eq!(replaced.status, 200);
    let after = replaced.json();
    assert_eq!(
        (&after["id"], &after["name"], &after["description"], &after["price"]),
        (&json!(3), &json!("Tin Bell"), &json!("Rattles."), &json!("0.99"))
    );
    assert_eq!(after["date_created"], before["date_created"]);
    assert!(after["date_modified"].as_str() > before["date_modified"].as_str());
    assert_eq!(get(origin.address, "/products/3").await.json(), after);
}

#[tokio::test]
async fn what_was_read_can_be_put_back() {
    let origin = Start::default().anew().await;
    let product = get(origin.address, "/products/3").await.json();
    let replaced = send(origin.address, "PUT /products/3", &product).await.json();
    assert_eq!(replaced["name"], product["name"]);
}

#[tokio::test]
async fn a_deleted_product_is_gone_and_its_id_is_not_given_again() {
    let origin = Start::default().anew().await;
    let deleted = request(origin.address, "DELETE /products/10", "", "").await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(get(origin.address, "/products/10").await.status, 404);
    assert_eq!(request(origin.address, "DELETE /products/10", "", "").await.status, 404);
    let draft = json!({ "name": "Brass Bell", "description": "", "price": "1" });
    assert_eq!(send(origin.address, "POST /products", &draft).await.json()["id"], 11);
}
