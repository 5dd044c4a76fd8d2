Feature: shares

  Background:
    Given an evaluator

  # Flag, names and suits are those of the public test bed, so that the hash is theirs too.
  Scenario Outline: the public vectors of v2
    Given a String-flag with key "fractional-flag" and a fallback value "mine"
    And a context containing a nested property with outer key "user" and inner key "name", with value "<name>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the reason should be "TARGETING_MATCH"
    Examples:
      | name  | value    |
      | jack  | hearts   |
      | queen | spades   |
      | ten   | clubs    |
      | nine  | diamonds |
      | 3     | clubs    |

  # Hashes next to 0, 2^31 and 2^32.
  Scenario Outline: the ends of the hash
    Given a String-flag with key "edges" and a fallback value "mine"
    And a context containing a targeting key with value "<key>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    Examples:
      | key    | value |
      | ejOoVL | lower |
      | bY9fO- | lower |
      | SI7p-  | lower |
      | 6LvT0  | upper |
      | ceQdGm | upper |

  Scenario Outline: without an expression in front
    Given a String-flag with key "<key>" and a fallback value "mine"
    And a context containing a targeting key with value "<unit>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    Examples:
      | key     | unit   | value |
      | coin    | user-1 | tails |
      | coin    | user-2 | heads |
      | coin-v3 | user-1 | heads |
      | coin-v3 | user-2 | heads |

  Scenario: a single share needs no unit
    Given a String-flag with key "only-one" and a fallback value "mine"
    When the flag was evaluated with details
    Then the resolved details value should be "one"

  Scenario Outline: weights that are no shares
    Given a String-flag with key "<key>" and a fallback value "mine"
    And a context containing a targeting key with value "anybody"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the reason should be "<reason>"
    Examples:
      | key        | value | reason          |
      | no-weight  | none  | DEFAULT         |
      | below-zero | two   | TARGETING_MATCH |

  Scenario Outline: computed values and weights
    Given a String-flag with key "<key>" and a fallback value "mine"
    And a context containing a targeting key with value "<unit>"
    And a context containing a key "colour", with type "String" and with value "<colour>"
    And a context containing a key "tier", with type "String" and with value "<tier>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    Examples:
      | key                | unit            | colour | tier | value |
      | computed-name      | jon@company.com | red    | -    | red   |
      | computed-name      | jon@company.com | yellow | -    | mine  |
      | computed-name      | user1           | red    | -    | blue  |
      | computed-weight    | jon@company.com | -      | gold | red   |
      | computed-weight    | jon@company.com | -      | -    | blue  |
      | share-as-condition | anybody         | -      | -    | big   |
