"""Products, their files and reviews; orders and what they are paid with."""

from tortoise import migrations
from tortoise.migrations import operations as ops

CATALOGUE = [
    # Content that products deliver. A file that no product names is swept after a day.
    """CREATE TABLE product_files (
        id uuid PRIMARY KEY,
        seller_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        name text NOT NULL,
        mime_type text NOT NULL,
        size_bytes bigint NOT NULL,
        sha256 bytea NOT NULL,
        object_key text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT product_files_name_check CHECK (char_length(name) BETWEEN 1 AND 255),
        CONSTRAINT product_files_size_check CHECK (size_bytes > 0),
        CONSTRAINT product_files_sha256_check CHECK (octet_length(sha256) = 32)
    )""",
    "CREATE UNIQUE INDEX product_files_object_key ON product_files (object_key)",
    "CREATE INDEX product_files_seller ON product_files (seller_id)",
    "CREATE INDEX product_files_created ON product_files (created_at)",
    """CREATE TRIGGER product_files_gone AFTER DELETE ON product_files
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION loosen_objects()""",
    # `stock` is what can still be ordered: pieces that a pending order holds are taken from it. Null has no end.
    """CREATE TABLE products (
        id uuid PRIMARY KEY,
        seller_id uuid NOT NULL REFERENCES users (id),
        title text NOT NULL,
        description text NOT NULL DEFAULT '',
        price_cents integer NOT NULL,
        currency text NOT NULL,
        product_type text NOT NULL,
        file_id uuid REFERENCES product_files (id),
        stock integer,
        status text NOT NULL DEFAULT 'draft',
        cover_object_key text,
        cover_mime_type text,
        cover_size_bytes bigint,
        cover_sha256 bytea,
        sold_count bigint NOT NULL DEFAULT 0,
        rating_sum bigint NOT NULL DEFAULT 0,
        rating_count bigint NOT NULL DEFAULT 0,
        rating_average numeric(3, 2) GENERATED ALWAYS AS
            (CASE WHEN rating_count > 0 THEN round(rating_sum::numeric / rating_count, 2) ELSE 0 END) STORED,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        published_at timestamptz,
        deleted_at timestamptz,
        search tsvector NOT NULL GENERATED ALWAYS AS
            (setweight(to_tsvector('veza', title), 'A') || setweight(to_tsvector('veza', description), 'B')) STORED,
        CONSTRAINT products_title_check CHECK (char_length(title) BETWEEN 1 AND 200),
        CONSTRAINT products_description_check CHECK (char_length(description) <= 5000),
        CONSTRAINT products_price_check CHECK (price_cents BETWEEN 1 AND 99999999),
        CONSTRAINT products_currency_check CHECK (currency ~ '^[A-Z]{3}$'),
        CONSTRAINT products_type_check CHECK (product_type IN
            ('track', 'album', 'sample_pack', 'preset', 'beat_licence', 'service', 'other')),
        CONSTRAINT products_stock_check CHECK (stock BETWEEN 0 AND 1000000),
        CONSTRAINT products_status_check CHECK (status IN ('draft', 'published')),
        CONSTRAINT products_published_check CHECK (status = 'draft' OR published_at IS NOT NULL),
        CONSTRAINT products_cover_check CHECK (
            num_nulls(cover_object_key, cover_mime_type, cover_size_bytes, cover_sha256) IN (0, 4)),
        CONSTRAINT products_sold_check CHECK (sold_count >= 0),
        CONSTRAINT products_rating_check CHECK (rating_sum BETWEEN rating_count AND 5 * rating_count)
    ) WITH (fillfactor = 80)""",
    "CREATE INDEX products_seller ON products (seller_id, created_at DESC, id DESC) WHERE deleted_at IS NULL",
    "CREATE INDEX products_file ON products (file_id) WHERE file_id IS NOT NULL",
    "CREATE INDEX products_search ON products USING gin (search) WHERE status = 'published' AND deleted_at IS NULL",
    # One for each way in which the catalogue can be sorted. What it can be narrowed by is in each, so that neither
    # counting nor a deep page reads the table.
    """CREATE INDEX products_newest ON products (published_at DESC, id DESC)
        INCLUDE (product_type, currency, price_cents, seller_id) WHERE status = 'published' AND deleted_at IS NULL""",
    """CREATE INDEX products_cheapest ON products (price_cents, id)
        INCLUDE (product_type, currency, seller_id) WHERE status = 'published' AND deleted_at IS NULL""",
    """CREATE INDEX products_best_rated ON products (rating_average DESC, rating_count DESC, id DESC)
        INCLUDE (product_type, currency, price_cents, seller_id) WHERE status = 'published' AND deleted_at IS NULL""",
    """CREATE INDEX products_best_sold ON products (sold_count DESC, id DESC)
        INCLUDE (product_type, currency, price_cents, seller_id) WHERE status = 'published' AND deleted_at IS NULL""",
    # With the title itself: the planner does not see that its lower form is there.
    """CREATE INDEX products_title ON products (lower(title), id)
        INCLUDE (title, product_type, currency, price_cents, seller_id)
        WHERE status = 'published' AND deleted_at IS NULL""",
    # How many are listed: counting a hundred thousand takes longer than all else that a list does.
    """CREATE TABLE catalogue_size (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        listed bigint NOT NULL CHECK (listed >= 0)
    ) WITH (fillfactor = 10)""",
    "INSERT INTO catalogue_size (listed) VALUES (0)",
    """CREATE FUNCTION count_listed() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        more bigint;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            SELECT count(*) INTO more FROM made WHERE status = 'published' AND deleted_at IS NULL;
        ELSIF TG_OP = 'DELETE' THEN
            SELECT -count(*) INTO more FROM gone WHERE status = 'published' AND deleted_at IS NULL;
        ELSE
            more := CASE WHEN NEW.status = 'published' AND NEW.deleted_at IS NULL THEN 1 ELSE -1 END;
        END IF;
        UPDATE catalogue_size SET listed = listed + more WHERE more <> 0;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER products_made_counted AFTER INSERT ON products
        REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION count_listed()""",
    """CREATE TRIGGER products_gone_counted AFTER DELETE ON products
        REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_listed()""",
    """CREATE TRIGGER products_changed_counted AFTER UPDATE OF status, deleted_at ON products FOR EACH ROW
        WHEN ((OLD.status = 'published' AND OLD.deleted_at IS NULL)
              <> (NEW.status = 'published' AND NEW.deleted_at IS NULL)) EXECUTE FUNCTION count_listed()""",
    # However a cover goes, its object follows.
    """CREATE FUNCTION loosen_cover() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO loose_objects (object_key, due_at) VALUES (OLD.cover_object_key, now()) ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER products_cover_replaced AFTER UPDATE OF cover_object_key ON products FOR EACH ROW
        WHEN (OLD.cover_object_key IS DISTINCT FROM NEW.cover_object_key AND OLD.cover_object_key IS NOT NULL)
        EXECUTE FUNCTION loosen_cover()""",
    """CREATE TRIGGER products_cover_gone AFTER DELETE ON products FOR EACH ROW
        WHEN (OLD.cover_object_key IS NOT NULL) EXECUTE FUNCTION loosen_cover()""",
]

ORDERS = [
    # `returned_cents` is what went back to the buyer or is about to, and what is disputed. Pending, the order holds the
    # pieces that were taken for it.
    """CREATE TABLE orders (
        id uuid PRIMARY KEY,
        buyer_id uuid NOT NULL REFERENCES users (id),
        status text NOT NULL DEFAULT 'pending',
        currency text NOT NULL,
        total_cents bigint NOT NULL,
        fee_cents bigint NOT NULL,
        returned_cents bigint NOT NULL DEFAULT 0,
        payment_method text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        paid_at timestamptz,
        CONSTRAINT orders_status_check CHECK (status IN
            ('pending', 'paid', 'failed', 'expired', 'partially_refunded', 'refunded')),
        CONSTRAINT orders_paid_check CHECK (
            (paid_at IS NOT NULL) = (status IN ('paid', 'partially_refunded', 'refunded'))),
        CONSTRAINT orders_currency_check CHECK (currency ~ '^[A-Z]{3}$'),
        CONSTRAINT orders_total_check CHECK (total_cents > 0),
        CONSTRAINT orders_fee_check CHECK (fee_cents BETWEEN 0 AND total_cents),
        CONSTRAINT orders_returned_check CHECK (returned_cents BETWEEN 0 AND total_cents)
    ) WITH (fillfactor = 80)""",
    "CREATE INDEX orders_buyer ON orders (buyer_id, created_at DESC, id DESC)",
    "CREATE INDEX orders_waiting ON orders (buyer_id) WHERE status = 'pending'",
    "CREATE INDEX orders_expiring ON orders (expires_at) WHERE status = 'pending'",
    """CREATE TABLE order_items (
        id uuid PRIMARY KEY,
        order_id uuid NOT NULL REFERENCES orders (id),
        position smallint NOT NULL,
        product_id uuid NOT NULL REFERENCES products (id),
        seller_id uuid NOT NULL REFERENCES users (id),
        title text NOT NULL,
        product_type text NOT NULL,
        unit_cents integer NOT NULL,
        quantity integer NOT NULL,
        stock_taken boolean NOT NULL DEFAULT false,
        CONSTRAINT order_items_unit_check CHECK (unit_cents > 0),
        CONSTRAINT order_items_quantity_check CHECK (quantity BETWEEN 1 AND 100)
    )""",
    "CREATE UNIQUE INDEX order_items_order ON order_items (order_id, position)",
    "CREATE INDEX order_items_product ON order_items (product_id, order_id)",
    # What the order brings each of its sellers: the fee is taken of a seller's sum.
    """CREATE TABLE order_shares (
        order_id uuid NOT NULL REFERENCES orders (id),
        seller_id uuid NOT NULL REFERENCES users (id),
        amount_cents bigint NOT NULL,
        fee_cents bigint NOT NULL,
        sold_at timestamptz,
        PRIMARY KEY (order_id, seller_id),
        CONSTRAINT order_shares_fee_check CHECK (fee_cents BETWEEN 0 AND amount_cents)
    )""",
    "CREATE INDEX order_shares_sold ON order_shares (seller_id, sold_at DESC, order_id DESC) WHERE sold_at IS NOT NULL",
    # One for an order. `creating` until the provider has answered; what it charged is the order's total, or it
    # is not `succeeded`. When it was last asked for is `asked_at`, null once it is not asked for any more.
    """CREATE TABLE payments (
        order_id uuid PRIMARY KEY REFERENCES orders (id),
        provider text NOT NULL,
        payment_id text NOT NULL,
        status text NOT NULL DEFAULT 'creating',
        client_secret text,
        redirect_url text,
        error text,
        alert text,
        created_at timestamptz NOT NULL DEFAULT now(),
        asked_at timestamptz DEFAULT now(),
        received_at timestamptz,
        CONSTRAINT payments_status_check CHECK (status IN ('creating', 'processing', 'succeeded', 'failed')),
        CONSTRAINT payments_received_check CHECK ((status = 'succeeded') = (received_at IS NOT NULL))
    ) WITH (fillfactor = 80)""",
    "CREATE UNIQUE INDEX payments_payment_id ON payments (payment_id)",
    "CREATE INDEX payments_open ON payments (asked_at) WHERE asked_at IS NOT NULL",
]

REVIEWS = [
    """CREATE TABLE reviews (
        id uuid PRIMARY KEY,
        product_id uuid NOT NULL REFERENCES products (id),
        buyer_id uuid NOT NULL REFERENCES users (id),
        order_id uuid NOT NULL REFERENCES orders (id),
        rating smallint NOT NULL,
        comment text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT reviews_rating_check CHECK (rating BETWEEN 1 AND 5),
        CONSTRAINT reviews_comment_check CHECK (char_length(comment) <= 2000)
    )""",
    "CREATE UNIQUE INDEX reviews_one ON reviews (product_id, buyer_id)",
    "CREATE INDEX reviews_product ON reviews (product_id, created_at DESC, id DESC)",
    # However a review comes or goes, its product's sums follow.
    """CREATE FUNCTION count_review() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            UPDATE products SET rating_sum = rating_sum - OLD.rating, rating_count = rating_count - 1
            WHERE id = OLD.product_id;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            UPDATE products SET rating_sum = rating_sum + NEW.rating, rating_count = rating_count + 1
            WHERE id = NEW.product_id;
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER reviews_counted AFTER INSERT OR DELETE OR UPDATE OF rating, product_id ON reviews
        FOR EACH ROW EXECUTE FUNCTION count_review()""",
]


class Migration(migrations.Migration):
    dependencies = [("veza", "0007_audit_status")]

    operations = [ops.RunSQL(CATALOGUE), ops.RunSQL(ORDERS), ops.RunSQL(REVIEWS)]
